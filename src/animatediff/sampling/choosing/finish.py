"""Choose what a request leaves open about finishing: how much to enlarge, and by which network."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from animatediff.errors import InputError
from animatediff.finishing.finish import Finish
from animatediff.sampling.options.output import MAX_UPSCALED_SIDE
from animatediff.sampling.request import AnimationRequest
from animatediff.video.containers import MAX_PIXELS
from animatediff.weights.finding.builtin import (
    OWN_UPSCALER,
    default_upscaler,
    own_upscaler,
    resolve,
)
from animatediff.weights.inspect import check_kind, inspect
from animatediff.weights.roles import ROLES


def check_networks(request: AnimationRequest) -> None:
    """Check the files of finishing before anything is loaded or drawn.

    Raises:
        InputError: there is no such file.
        FileError: one is of another kind, or holds no weights.
    """
    named: tuple[tuple[Literal["upscaler", "interpolator"], str], ...] = (
        ("upscaler", request.upscaler),
        ("interpolator", request.interpolator),
    )
    for role, name in named:
        if name:
            found = inspect(resolve(role, name))
            # Which other networks spandrel knows, only it can say.
            if found.kind != "unknown":
                check_kind(found, role)


def with_finish(
    request: AnimationRequest, *, width: int, height: int, sized: bool
) -> AnimationRequest:
    """The request with its enlargement chosen.

    What the built-in model draws is enlarged by its own upscaler unless the request says something
    of size: 128 pixels become 512.

    Args:
        request: a valid request.
        width: of the frames that are drawn.
        height: of the frames that are drawn.
        sized: whether the request gave a width or a height.

    Raises:
        InputError: a network is missing, or the frames would become too large.
        FileError: the upscaler's file cannot be used.
    """
    check_networks(request)
    if request.interpolator and request.interpolate == 1:
        raise InputError(
            "--interpolator needs --interpolate N, which says how many times the frame rate."
        )
    factor, name = request.upscale, request.upscaler
    if factor is None and (request.hires != 1 or (sized and not name)):
        factor = 1
    if factor is None and not name:
        name = own_upscaler(request.model or ROLES["model"].default)
    if factor is None and name:
        from animatediff.weights.upscalers import read_upscaler

        factor = read_upscaler(resolve("upscaler", name)).scale
    if factor is None or factor == 1:
        # The network of --upscaler then enlarges before the second pass.
        kept = name if request.hires != 1 and request.hires_by == "pixels" else ""
        return replace(request, upscale=1, upscaler=kept)
    _check_size(
        request, factor, width=round(width * request.hires), height=round(height * request.hires)
    )
    if not name:
        default_upscaler()
    return replace(request, upscale=factor, upscaler=name or OWN_UPSCALER)


def _check_size(request: AnimationRequest, factor: int, *, width: int, height: int) -> None:
    """Raise if enlarged frames would be too large, one alone or all together.

    Raises:
        InputError: they would be.
    """
    if max(width, height) * factor > MAX_UPSCALED_SIDE:
        raise InputError(
            f"Frames of {width}x{height} enlarged {factor} times would have more than "
            f"{MAX_UPSCALED_SIDE} pixels along a side; use a smaller --upscale."
        )
    assert request.num_frames is not None, "the number of frames was chosen"
    frames = request.num_frames * request.interpolate * (2 if request.pingpong else 1)
    if width * height * factor**2 * frames > MAX_PIXELS:
        raise InputError(
            f"{frames} frames of {width}x{height} enlarged {factor} times would have more than "
            f"{MAX_PIXELS:,} pixels; use a smaller --upscale or fewer frames."
        )


def finish_of(request: AnimationRequest, *, device: str) -> Finish:
    """What is to be done to the frames of a settled request."""
    assert request.upscale is not None, "a settled request has its enlargement"
    return Finish(
        interpolate=request.interpolate,
        interpolator=(
            resolve("interpolator", request.interpolator) if request.interpolator else None
        ),
        upscale=request.upscale,
        upscaler=resolve("upscaler", request.upscaler) if request.upscale != 1 else None,
        pingpong=request.pingpong,
        loop=request.loop,
        device=device,
    )
