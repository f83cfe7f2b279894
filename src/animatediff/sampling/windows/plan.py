"""Plans of context windows: the schedules of ComfyUI-AnimateDiff-Evolved, as plain values.

A motion module knows clips of some length. A longer clip is denoised in windows of that length that
overlap, and where they overlap their predictions are averaged.

- ``static``: the same windows at every step.
- ``uniform``: windows shift from step to step, so that no border stays where it is.
- ``looped``: the same, and windows go around the end of the clip, which closes it to a loop.

Shifts follow the van der Corput sequence (the bits of the step's number, reversed): each falls into the
middle of the largest gap that the earlier ones left.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from animatediff.sampling.windows.weights import WEIGH, WindowWeights

WindowSchedule = Literal["static", "uniform", "looped"]
WINDOW_SCHEDULES: tuple[str, ...] = get_args(WindowSchedule)

Frames = tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """Frames that are denoised together.

    Attributes:
        frames: of the animation, in the order in which the motion module sees them.
        weights: how much each frame's prediction counts where windows overlap.
    """

    frames: Frames
    weights: tuple[float, ...]


@dataclass(frozen=True)
class WindowPlan:
    """Which windows are denoised at each step.

    Attributes:
        num_frames: of the clip.
        length: of a window; a clip that is no longer is one window, unless it is looped.
        overlap: frames that a window shares with the next, at least; below ``length``.
        schedule: how windows move from step to step.
        stride: with ``uniform`` and ``looped``, frames 1, 2, 4, ... apart up to 2^(stride - 1) are seen
            together as well.
        weights: how windows are averaged.
        later: plans that replace this one during the denoising steps, each after its first step.
    """

    num_frames: int
    length: int
    overlap: int
    schedule: WindowSchedule = "static"
    stride: int = 1
    weights: WindowWeights = "pyramid"
    later: tuple[tuple[int, WindowPlan], ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether the one window of every step is the clip itself."""
        return self._is_one and all(plan.is_whole for _, plan in self.later)

    @property
    def longest(self) -> int:
        """Frames of the longest window."""
        return max((self.length, *(plan.length for _, plan in self.later)))

    @property
    def _is_one(self) -> bool:
        return self.num_frames <= self.length and self.schedule != "looped"

    def at(self, step: int) -> tuple[Window, ...]:
        """The windows of a denoising step, from 0; together they cover every frame."""
        for first, plan in reversed(self.later):
            if step >= first:
                return plan.at(step)
        weigh = WEIGH[self.weights]
        found = dict.fromkeys(self._frames(step))
        return tuple(
            Window(frames, weigh(frames, self.overlap, self.num_frames)) for frames in found
        )

    def _frames(self, step: int) -> Iterator[Frames]:
        if self._is_one:
            yield tuple(range(self.num_frames))
        elif self.schedule == "static":
            yield from self._static()
        elif self.schedule == "uniform":
            yield from self._uniform(step)
        else:
            yield from self._rolling(step, closed=True)

    def _static(self) -> Iterator[Frames]:
        """Windows from the first frame on; the last one is moved back to end with the clip."""
        last = self.num_frames - self.length
        for start in (*range(0, last, self.length - self.overlap), last):
            yield tuple(range(start, start + self.length))

    def _uniform(self, step: int) -> Iterator[Frames]:
        """As ``_rolling``, but what goes around the end is moved back to end with the clip.

        Frames at the beginning that no window holds any more get a window of their own. ComfyUI asks
        only whether the next window holds them, which that one may lose as well; so here any frame
        that is left over at last gets a window too.
        """
        rolling = list(self._rolling(step, closed=False))
        held: set[int] = set()
        for index, frames in enumerate(rolling):
            for window in self._moved_back(frames, rolling[(index + 1) % len(rolling)]):
                held.update(window)
                yield window
        while left := set(range(self.num_frames)) - held:
            start = min(*left, self.num_frames - self.length)
            window = tuple(range(start, start + self.length))
            held.update(window)
            yield window

    def _moved_back(self, frames: Frames, following: Frames) -> Iterator[Frames]:
        """A window that does not go around the end, and one for what the next window lacks."""
        turn = next((i for i in range(1, len(frames)) if frames[i] < frames[i - 1]), None)
        if turn is None:
            yield frames
            return
        gap = (frames[1] - frames[0]) % self.num_frames
        yield tuple(self.num_frames - 1 - gap * i for i in reversed(range(len(frames))))
        if frames[turn] not in following:
            yield tuple(range(frames[turn], frames[turn] + self.length))

    def _rolling(self, step: int, *, closed: bool) -> Iterator[Frames]:
        """Windows that begin elsewhere at each step and go around the end of the clip."""
        count, length = self.num_frames, min(self.length, self.num_frames)
        overlap = min(self.overlap, length - 1)
        shift = van_der_corput(step)
        pad = round(count * shift)
        for gap in (2**power for power in range(self.stride)):
            # A window that is wider than the clip would hold frames twice; ComfyUI allows that.
            if gap > 1 and gap * length > count:
                return
            start = int(shift * gap) + pad
            end = count + pad - (0 if closed else overlap)
            for begin in range(start, end, length * gap - overlap):
                yield tuple((begin + gap * i) % count for i in range(length))


def van_der_corput(number: int) -> float:
    """The bits of a number behind the point, reversed: 0, 1/2, 1/4, 3/4, 1/8, ..."""
    value, share = 0.0, 0.5
    while number:
        value += share * (number & 1)
        number, share = number >> 1, share / 2
    return value
