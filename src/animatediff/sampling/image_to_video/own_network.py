"""The package's own SparseCtrl network: frames of the built-in model follow a picture, or their still.

A picture of ``--image`` is the hint of frame 0 (arXiv 2311.16933). So is the still that an animation
begins from, if a request asks for it: frames then stay nearer to it, and move less.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from animatediff.errors import InputError
from animatediff.sampling.image_to_video.options import BLEND_POWER, BLEND_SCALE
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.weights.finding.builtin import OWN_PICTURE_NETWORK, own_picture_network
from animatediff.weights.roles import ROLES

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

USUAL = 1.0
"""How much the network counts for a picture, unless a request says otherwise; for a still, 0."""
OWN_STRENGTH = 0.8
"""The share of the steps that frames of the built-in model take from a picture."""


def own_network_for(request: AnimationRequest) -> str:
    """Return the network to load for a request and for others like it; empty if there is none.

    Args:
        request: the request, settled or not. One that says where things are by other means, or asks for
            another way to animate its picture, needs none.
    """
    controls = () if uses_own_network(request) else request.controls
    placed = controls or request.motion_loras or request.camera_path or request.object_paths
    blends = (
        not request.image_pinned
        or (request.image_power, request.image_scale) != (BLEND_POWER, BLEND_SCALE)
        or request.image_way not in ("auto", "sparse-control")
    )
    if placed or blends or request.picture_strength == 0:
        return ""
    return own_picture_network(
        request.model or ROLES["model"].default, motion=request.motion or ROLES["motion"].default
    )


def uses_own_network(request: AnimationRequest) -> bool:
    """Whether a request was settled, and its only control network is the package's own."""
    names = [parse_lora(control, what="control network")[0] for control in request.controls]
    return bool(request.picture_strength) and names == [OWN_PICTURE_NETWORK]


def with_own_network(request: AnimationRequest, own: str) -> AnimationRequest:
    """Return a request that names the package's network if it uses it, and says how much it counts.

    Args:
        request: a request in which ``from_still`` was chosen.
        own: the loaded network; empty if there is none.

    Raises:
        InputError: the request says how much it counts, and there is none, or no picture for it.
    """
    if uses_own_network(request):
        return request
    asked = request.picture_strength
    begins = bool(request.image) or request.from_still != 1
    if asked and (request.controls or not (own and begins)):
        reason = (
            "nothing begins with a picture or a still; give --image or --from-still"
            if own and not request.controls
            else "it is for the built-in model alone, without --control, --motion-lora and --camera"
        )
        raise InputError(f"--picture-strength {asked:g} has no use here: {reason}.")
    if request.controls:
        return request
    usual = USUAL if request.image else 0.0
    strength = usual if asked is None else asked
    if not (own and begins and strength):
        return replace(request, picture_strength=0.0)
    return replace(request, picture_strength=strength, controls=(f"{own}:{strength:g}",))
