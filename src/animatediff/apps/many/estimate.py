"""How long requests will take: work in proportion to frames, pixels, steps and predictions.

The speed is measured by a trial of two steps on this machine, and again by every finished animation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from animatediff.sampling.request import AnimationRequest

TRIAL_STEPS = 2


def work_of(request: AnimationRequest, *, like: AnimationRequest) -> float:
    """The work of a request: pixels that its predictions read, times their number.

    Args:
        request: the request.
        like: has a value for each choice that the request leaves to the model.
    """

    def value(name: str) -> float:
        own = getattr(request, name)
        return float(getattr(like, name) if own is None else own)

    pixels = value("num_frames") * value("width") * value("height")
    guided = value("guidance") != 1
    predictions = 1 + guided + (request.perturbed_attention > 0)
    rounds = value("steps") * predictions
    again = request.hires**2 * request.hires_strength if request.hires != 1 else 0
    # Decoding costs about as much as one prediction.
    return pixels * (rounds * (request.free_init + again) + 1)


@dataclass
class Pace:
    """Seconds for a unit of work, from what was measured so far."""

    seconds: float = 0.0
    work: float = 0.0

    def add(self, seconds: float, work: float) -> None:
        """Count a finished animation."""
        self.seconds, self.work = self.seconds + seconds, self.work + work

    def time_for(self, work: float) -> float:
        """Seconds that some work will take; 0 if nothing was measured."""
        return self.seconds / self.work * work if self.work else 0.0


def trial(
    request: AnimationRequest,
    *,
    like: AnimationRequest,
    draw: Callable[[AnimationRequest], object],
) -> Pace:
    """Measure the pace by drawing a request with two steps; its frames are thrown away."""
    short = replace(request, steps=TRIAL_STEPS, free_init=1, interpolate=1, pingpong=False)
    draw(short)  # The first prediction also reads files and prepares memory.
    started = time.monotonic()
    draw(short)
    return Pace(time.monotonic() - started, work_of(short, like=like))


def spoken(seconds: float) -> str:
    """Seconds in words: ``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
