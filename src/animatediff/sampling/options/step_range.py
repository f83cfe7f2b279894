"""A part of the denoising steps, as ``0:0.6`` writes it."""

from __future__ import annotations

from animatediff.errors import InputError


def parse_step_range(text: str) -> tuple[float, float]:
    """Start and end as shares of the steps; a side that is left out is 0 or 1.

    Raises:
        InputError: it is written differently, or the end is not after the start.
    """
    start, sign, end = text.partition(":")
    try:
        found = float(start or 0), float(end or 1)
    except ValueError:
        found = (1.0, 0.0)
    if not sign or not 0 <= found[0] < found[1] <= 1:
        raise InputError(
            f"{text!r:.40} is no range of steps; write start:end, such as 0:0.6, from 0 to 1."
        )
    return found


def is_outside(step: int, *, steps: int, start: float, end: float) -> bool:
    """Whether a step, from 0, is outside a range; as diffusers' pipelines decide it."""
    return step / steps < start or (step + 1) / steps > end
