"""Choose what a request leaves open about clips that are longer than a window: windows and noise."""

from __future__ import annotations

from dataclasses import replace

from animatediff.errors import InputError
from animatediff.sampling.choosing.window_place import Room, chosen_place, scales_by_frame
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.windows.options import NoiseName
from animatediff.sampling.windows.plan import WindowPlan
from animatediff.weights.families import Family

_SHARED: dict[NoiseName, int] = {"independent": 4, "freenoise": 2}
"""Unless a request says otherwise, one frame in this many is shared with the next window.

With FreeNoise it is half of them, so that each window has every noise of the first one and neither
border is further than a quarter of a window from the middle of another.
"""


def with_windows(
    request: AnimationRequest,
    *,
    family: Family,
    moves: bool,
    room: Room | None = None,
    unit: int = 8,
) -> tuple[AnimationRequest, WindowPlan]:
    """The request with its noise and the place of its windows chosen, and the windows.

    The whole clip is one window, unless it is longer than the motion module knows, or windows are asked
    for. A clip of several windows begins with the noise of its first window, in another order for each
    of the others (FreeNoise, arXiv 2310.15169): with independent noise, each window would draw another
    scene. A clip that begins from a video keeps independent noise, as the video decides the scene. So
    do frames without a motion module, which are pictures of their own.

    Args:
        request: the request; its number of frames is known.
        family: of the motion module.
        moves: whether there is a motion module.
        room: what the model holds in memory, if its layers can be computed for some frames at a time.
        unit: pixels per latent along a side.

    Raises:
        InputError: windows overlap by their whole length, there is no motion to loop, or a MotionLoRA
            does not work inside windows of attention.
    """
    num_frames = request.num_frames or family.num_frames
    if request.loop and not moves:
        raise InputError(
            "--loop needs a motion module, as without one no frame knows of another; "
            "name one with --motion."
        )
    if request.loop and request.window_schedule not in (None, "looped"):
        raise InputError(
            f"--loop needs looped windows, and --window-schedule is {request.window_schedule}; "
            "leave one of them out."
        )
    too_long = moves and num_frames > family.position_rows
    longest = min(family.num_frames, family.position_rows) if too_long else num_frames
    length = min(request.window_length or longest, num_frames)
    noise = request.noise or _usual_noise(request, is_long=moves and length < num_frames)
    place = chosen_place(
        request, room=room if moves else None, frames=num_frames, window=length, unit=unit
    )
    if place == "attention" and length < num_frames and scales_by_frame(request):
        raise InputError(
            "A MotionLoRA whose scale changes over the frames cannot be used with --windows-in "
            "attention; leave that option out, or write one scale for all frames."
        )
    overlap = request.window_overlap
    if overlap is None:
        # Inside attention a window costs little, so that each frame is in four of them.
        overlap = length // _SHARED[noise] if place == "model" else 3 * length // 4
    if overlap >= length and length < num_frames:
        raise InputError(
            f"Context windows of {length} frames cannot overlap by {overlap}; "
            f"use an overlap of at most {length - 1}."
        )
    plan = WindowPlan(
        num_frames,
        length=length,
        overlap=min(overlap, length - 1),
        schedule="looped" if request.loop else request.window_schedule or "static",
        stride=request.window_stride,
        weights=request.window_weights,
    )
    return replace(request, noise=noise, windows_in=place), plan


def _usual_noise(request: AnimationRequest, *, is_long: bool) -> NoiseName:
    return "freenoise" if is_long and not request.init else "independent"
