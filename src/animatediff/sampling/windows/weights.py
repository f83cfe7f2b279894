"""Weights of the frames in a context window."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, get_args

WindowWeights = Literal["pyramid", "flat", "overlap-linear"]
WINDOW_WEIGHTS: tuple[str, ...] = get_args(WindowWeights)
_LEAST = 1e-3
"""No weight is zero, so that a frame that only one window holds is that window's."""

Weigh = Callable[[Sequence[int], int, int], tuple[float, ...]]
"""Weights from a window's frames, the overlap and the number of frames of the clip."""


def pyramid(length: int) -> tuple[float, ...]:
    """Weights 1, 2, 3, ... up to the middle and down again."""
    return tuple(float(min(frame + 1, length - frame)) for frame in range(length))


def ramps(frames: Sequence[int], *, overlap: int, num_frames: int) -> tuple[float, ...]:
    """1 inside, and linear ramps over the overlaps; none at the two ends of the clip."""
    weights = [1.0] * len(frames)
    for place in range(min(overlap, len(frames))):
        weight = max(_LEAST, place / max(1, overlap - 1))
        if frames[0] != 0:
            weights[place] = min(weights[place], weight)
        if frames[-1] != num_frames - 1:
            weights[-1 - place] = min(weights[-1 - place], weight)
    return tuple(weights)


WEIGH: Mapping[WindowWeights, Weigh] = {
    "pyramid": lambda frames, _overlap, _num_frames: pyramid(len(frames)),
    "flat": lambda frames, _overlap, _num_frames: (1.0,) * len(frames),
    "overlap-linear": lambda frames, overlap, num_frames: ramps(
        frames, overlap=overlap, num_frames=num_frames
    ),
}
