"""Strengths of single frames, as ``0=0.5, 2:8=0.7, -1`` writes them."""

from __future__ import annotations

import re

from animatediff.errors import InputError

MAX_STRENGTH = 10.0
_PART = re.compile(r"(?P<first>-?\d{1,6})(?P<until>:(?P<last>-?\d{1,6})?)?(?:=(?P<value>.+))?")


def frame_strengths(text: str, *, num_frames: int) -> tuple[float, ...]:
    """The strength of every frame.

    Args:
        text: parts with commas. ``3`` is one frame, ``2:8`` the frames 2 to 7, ``2:`` all from 2 on,
            and negative numbers count from the end. ``=0.7`` is a strength, 1 if it is left out.
            Frames that no part names have 0; where several do, the last counts. An empty text is 1
            in every frame.
        num_frames: of the animation.

    Raises:
        InputError: a part is written differently, or names a frame that there is not.
    """
    if not text.strip():
        return (1.0,) * num_frames
    strengths = [0.0] * num_frames
    for part in text.split(","):
        frames, value = _parsed(part.strip(), num_frames=num_frames)
        for frame in frames:
            strengths[frame] = value
    return tuple(strengths)


def check_frame_strengths(text: str) -> None:
    """Check how it is written, before the number of frames is known.

    Raises:
        InputError: a part is written differently.
    """
    for part in text.split(",") if text.strip() else ():
        _match(part.strip())


def _parsed(part: str, *, num_frames: int) -> tuple[range, float]:
    match, value = _match(part)
    first = _frame(match["first"], num_frames=num_frames, part=part)
    if match["until"] is None:
        return range(first, first + 1), value
    if match["last"] is None:
        return range(first, num_frames), value
    last = int(match["last"])
    last = last + num_frames if last < 0 else last
    if not first < last <= num_frames:
        raise InputError(
            f"The frames {part!r:.40} are none of an animation of {num_frames}; the second number is "
            "the first frame after them."
        )
    return range(first, last), value


def _frame(text: str, *, num_frames: int, part: str) -> int:
    frame = int(text)
    if not -num_frames <= frame < num_frames:
        raise InputError(
            f"{part!r:.40} names frame {frame}, and the animation has {num_frames}; the first is 0, "
            "the last -1."
        )
    return frame % num_frames


def _match(part: str) -> tuple[re.Match[str], float]:
    match = _PART.fullmatch(part)
    try:
        value = float(match["value"] or 1) if match else -1
    except ValueError:
        value = -1
    if match is None or not 0 <= value <= MAX_STRENGTH:
        raise InputError(
            f"{part!r:.40} is no strength of frames; write 0=0.5, 2:8=0.7 or -1, with strengths from "
            f"0 to {MAX_STRENGTH:g}."
        )
    return match, value
