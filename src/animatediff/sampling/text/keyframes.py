"""Keyframes of prompt travel: the prompt at each position of an animation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Literal, get_args

from animatediff.errors import InputError

InterpolationName = Literal["linear", "slerp", "step"]
INTERPOLATION_NAMES: tuple[str, ...] = get_args(InterpolationName)

MAX_KEYFRAMES = 1024
MAX_TRAVEL = 100_000
"""Characters in the texts of all keyframes."""

_KEY = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(%|s)?", re.ASCII)


def position_of(key: str, *, num_frames: int, rate: Fraction) -> Fraction:
    """Return a keyframe's position in frames, from 0; may lie between two frames.

    Args:
        key: a frame, ``16``; a part of the animation, ``50%``; or a time, ``1.5s``.
        num_frames: of the animation.
        rate: frames a second.

    Raises:
        InputError: the key has another form, or is outside the animation.
    """
    number, unit = _parse_key(key)
    match unit:
        case "%":
            position = number / 100 * (num_frames - 1)
        case "s":
            position = number * rate
        case _:
            position = number
    if position > num_frames - 1:
        raise InputError(
            f"The keyframe {key} lies beyond the last of {num_frames} frames, {num_frames - 1}; "
            "move it there, or animate more frames."
        )
    return position


def positions_of(
    prompts: Mapping[str, str], *, num_frames: int, rate: Fraction
) -> dict[str, Fraction]:
    """Return the positions of all keyframes, in their order.

    Raises:
        InputError: as for ``position_of``, or two keyframes have the same position.
    """
    at: dict[Fraction, str] = {}
    for key in prompts:
        position = position_of(key, num_frames=num_frames, rate=rate)
        if position in at:
            raise InputError(f"The keyframes {at[position]} and {key} are at the same frame.")
        at[position] = key
    return {at[position]: position for position in sorted(at)}


def checked_prompts(prompts: object) -> dict[str, str]:
    """Return keyframes with canonical keys: text, without blanks or repetitions.

    Raises:
        InputError: it is not a mapping, a key is not valid, or there are too many keyframes.
    """
    if not isinstance(prompts, Mapping):
        raise InputError(
            f"prompts = {prompts!r:.40} is not a mapping from frames to texts, such as {{0: 'a fox'}}."
        )
    if len(prompts) > MAX_KEYFRAMES:
        raise InputError(
            f"{len(prompts)} keyframes were given, and at most {MAX_KEYFRAMES} can be."
        )
    checked: dict[str, str] = {}
    for key, text in prompts.items():
        if not isinstance(text, str):
            raise InputError(f"The text of the keyframe {key!r:.40} is {text!r:.40}, not text.")
        name = canonical_key(str(key))
        if name in checked:
            raise InputError(f"The keyframe {name} is there twice.")
        checked[name] = text
    if sum(map(len, checked.values())) > MAX_TRAVEL:
        raise InputError(
            f"The keyframes have more than {MAX_TRAVEL} characters together; shorten them."
        )
    return checked


def joined(*parts: str) -> str:
    """Join the non-empty parts of a prompt with commas."""
    return ", ".join(part for part in (part.strip().strip(",").strip() for part in parts) if part)


def canonical_key(key: str) -> str:
    """Return a key without blanks and needless digits: `` 1.50 s`` becomes ``1.5s``.

    Raises:
        InputError: it is not a frame, part or time.
    """
    number, unit = _parse_key(key)
    whole = number.denominator == 1
    return f"{number.numerator if whole else format(float(number), '.12g')}{unit}"


def _parse_key(key: str) -> tuple[Fraction, str]:
    match = _KEY.fullmatch(key.strip())
    if match is None or (match[2] is None and "." in match[1]):
        raise InputError(
            f"{key!r:.40} is not a keyframe; write a frame such as 16, a part such as 50%, "
            "or a time such as 1.5s."
        )
    number, unit = Fraction(match[1]), match[2] or ""
    if unit == "%" and number > 100:
        raise InputError(f"The keyframe {key.strip()} lies beyond the end, 100%.")
    return number, unit
