"""PIA's affinity: how much each frame is to resemble the picture (arXiv 2312.13964, Sec. 3.3).

The values are the authors' statistics of how frames of training clips differ from their first. Their
code numbers the ranges, and other programs number them differently, so here they have names.
"""

from __future__ import annotations

from collections.abc import Mapping

from animatediff.sampling.image_to_video.options import AffinityName

_LOOP_FRAMES = 16
"""A loop's values are for so many frames; for another number they are stretched."""

AFFINITIES: Mapping[AffinityName, tuple[float, ...]] = {
    "small": (1.0, 0.9, 0.85, 0.85, 0.85, 0.8),
    "moderate": (1.0, 0.8, 0.8, 0.8, 0.79, 0.78, 0.75),
    "large": (1.0, 0.8, *(0.7,) * 8, 0.6, 0.5, 0.5),
    "small-loop": (1.0, 0.9, 0.85, 0.85, 0.85, *(0.8,) * 7, 0.85, 0.85, 0.9, 1.0),
    "moderate-loop": (*(1.0, 0.8, 0.8, 0.8, 0.79, 0.78, *(0.75,) * 5, 0.78, 0.79, 0.8, 0.8, 1.0),),
    "large-loop": (*(1.0, *(0.8,), *(0.7,) * 4, 0.6, 0.5, 0.5, 0.6, *(0.7,) * 4, 0.8, 1.0),),
    "small-style": (0.5, 0.4, 0.4, 0.4, 0.35, 0.3),
    "moderate-style": (0.5, 0.4, 0.4, 0.4, 0.35, 0.35, 0.3, 0.25, 0.2),
    "large-style": (0.5, 0.2),
}
"""By the distance from the frame of the picture; further frames have the last value."""


def affinities(name: AffinityName, *, num_frames: int) -> tuple[float, ...]:
    """The affinity of every frame to a picture at frame 0."""
    values = AFFINITIES[name]
    if name.endswith("-loop") and num_frames > 1:
        last = _LOOP_FRAMES - 1
        return tuple(values[round(i * last / (num_frames - 1))] for i in range(num_frames))
    return tuple(values[min(frame, len(values) - 1)] for frame in range(num_frames))
