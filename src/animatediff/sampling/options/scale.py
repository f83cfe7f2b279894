"""Scale of a LoRA, adapter or MotionLoRA: constant, or changing over frames or steps.

As text, ``0.8`` is constant, ``frames(0=0.2, 15=1)`` changes over the frames of the animation, and
``steps(0=1, 0.5=0)`` over the denoising steps, with positions from 0 to 1. Values between two positions
are interpolated linearly.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from animatediff.errors import InputError

Over = Literal["all", "frames", "steps"]

MAX_KEYFRAMES = 1024

_KEYED = re.compile(r"(frames|steps)\((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class Scale:
    """A scale, checked when it is made.

    Attributes:
        over: ``frames``, ``steps``, or ``all`` for a constant.
        keyframes: positions and values, rising. Over ``frames`` a position is the number of a frame,
            over ``steps`` a share of the denoising steps.

    Raises:
        InputError: there is no keyframe or too many, a number is not finite, positions do not rise,
            or a position is out of range.
    """

    over: Over
    keyframes: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        numbers = [number for keyframe in self.keyframes for number in keyframe]
        if not 1 <= len(self.keyframes) <= MAX_KEYFRAMES or not all(map(math.isfinite, numbers)):
            raise InputError(
                f"A scale needs 1 to {MAX_KEYFRAMES} positions, each with a finite number; "
                "write, for example, frames(0=0.2, 15=1)."
            )
        positions = [position for position, _ in self.keyframes]
        if any(later <= earlier for earlier, later in pairwise(positions)):
            raise InputError(f"The positions of the scale {self} do not rise; put them in order.")
        most = {"all": 0.0, "frames": math.inf, "steps": 1.0}[self.over]
        whole = self.over != "frames" or all(position.is_integer() for position in positions)
        if positions[0] < 0 or positions[-1] > most or not whole:
            right = "whole frames from 0 on" if self.over == "frames" else "shares from 0 to 1"
            raise InputError(f"The positions of the scale {self} are not {right}.")

    @classmethod
    def of(cls, number: float) -> Scale:
        """Return a constant scale."""
        return cls("all", ((0.0, float(number)),))

    @classmethod
    def parse(cls, text: str) -> Scale:
        """Parse a scale from a request.

        Raises:
            InputError: it is not a scale.
        """
        match = _KEYED.fullmatch(text.strip())
        if match is None:
            return cls.of(_number(text, of=text))
        keyframes: list[tuple[float, float]] = []
        for part in match[2].split(","):
            position, _, value = part.partition("=")
            keyframes.append((_number(position, of=text), _number(value, of=text)))
        return cls("frames" if match[1] == "frames" else "steps", tuple(keyframes))

    @property
    def is_zero(self) -> bool:
        """Whether the scale is 0 everywhere."""
        return all(value == 0 for _, value in self.keyframes)

    @property
    def least_and_most(self) -> tuple[float, float]:
        """Smallest and largest value."""
        values = [value for _, value in self.keyframes]
        return min(values), max(values)

    def at_step(self, step: int, *, steps: int) -> float:
        """Return the scale at one of ``steps`` denoising steps, from 0; not for a scale over frames.

        The first step is at position 0 and the last at position 1.
        """
        assert self.over != "frames", "a scale over frames has no single value at a step"
        return self._at(step / (steps - 1) if steps > 1 else 0.0)

    def of_frames(self, frames: Iterable[int]) -> tuple[float, ...]:
        """Return the scale of each of these frames; not for a scale over steps."""
        assert self.over != "steps", "a scale over steps has no single value for a frame"
        return tuple(self._at(float(frame)) for frame in frames)

    def at(self, frames: Sequence[int], *, step: int, steps: int) -> tuple[float, ...]:
        """Return the scale of each of these frames at one denoising step."""
        if self.over == "steps":
            return (self.at_step(step, steps=steps),) * len(frames)
        return self.of_frames(frames)

    def _at(self, position: float) -> float:
        after = bisect_right(self.keyframes, (position, math.inf))
        if after == 0:
            return self.keyframes[0][1]
        if after == len(self.keyframes):
            return self.keyframes[-1][1]
        (start, low), (end, high) = self.keyframes[after - 1 : after + 1]
        return low + (high - low) * (position - start) / (end - start)

    def __str__(self) -> str:
        if self.over == "all":
            return f"{self.keyframes[0][1]!r}"
        return f"{self.over}({', '.join(f'{at:g}={value!r}' for at, value in self.keyframes)})"


def _number(text: str, *, of: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(
            f"{of!r:.80} is not a scale; write a number such as 0.8, frames(0=0.2, 15=1) or "
            "steps(0=1, 0.5=0)."
        ) from None
