"""Which way a picture is animated: the best that is loaded, or the one that was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, get_args

from animatediff.errors import InputError
from animatediff.sampling.image_to_video.options import WayName

if TYPE_CHECKING:
    from animatediff.model.control.network import ControlNetwork
    from animatediff.sampling.request import AnimationRequest
    from animatediff.weights.motion_picture import PictureInput

WAYS: Mapping[WayName, str] = {
    "sparse-control": "a SparseCtrl rgb model (--control)",
    "pia": "PIA's motion module (--motion)",
    "animatelcm-i2v": "AnimateLCM's image-to-video motion module (--motion)",
    "blend": "blended latents",
}
"""What each way needs, in a user's words."""


def reads_pictures(network: ControlNetwork) -> bool:
    """Whether a control network is SparseCtrl ``rgb``, which begins with a picture."""
    return getattr(network, "version", "") == "rgb"


def ways_of(
    networks: Iterable[ControlNetwork], picture: PictureInput | None
) -> tuple[WayName, ...]:
    """The ways that loaded files offer, the best first; blending is always one.

    Args:
        networks: the control networks.
        picture: what the motion module's file reads a picture with.
    """
    rgb = any(reads_pictures(network) for network in networks)
    has = {"sparse-control": rgb, "blend": True}
    if picture is not None:
        has[picture.family] = True
    return tuple(way for way in get_args(WayName) if has.get(way, False))


def without_networks(ways: tuple[WayName, ...]) -> tuple[WayName, ...]:
    """The ways that are left to a request without control networks."""
    return tuple(way for way in ways if way != "sparse-control")


def chosen_way(request: AnimationRequest, ways: tuple[WayName, ...]) -> WayName | None:
    """The way in which a request's picture is animated; nothing if it has none.

    Raises:
        InputError: the way that it asks for needs another model.
    """
    if not request.image:
        return None
    if request.image_way == "auto":
        return ways[0]
    if request.image_way not in ways:
        raise InputError(
            f"--image-way {request.image_way} needs {WAYS[request.image_way]}, which is not loaded; "
            f"load it, or use {' or '.join(ways)}."
        )
    return request.image_way
