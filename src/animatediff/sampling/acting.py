"""Where low-rank branches act: a domain adapter or MotionLoRA at the timesteps that it learned at.

A camera move is decided while noise is strong, so its MotionLoRA may have learned there alone (the
``min_timestep`` of its file). What such branches do to a picture that hardly has noise any more was
never learned, and spoils it. So below that timestep they are left out, and details are drawn by the
motion modules that know how.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

from torch import Tensor

from animatediff.model.low_rank import merged
from animatediff.sampling.guidance import Latents, PredictNoise
from animatediff.weights.adapters import LoadedLowRank

Wanted = tuple[LoadedLowRank, float]
"""Branches in place, and the scale at which they are to act."""


@contextmanager
def acting(wanted: Sequence[Wanted]) -> Generator[Callable[[float], None]]:
    """While it lasts, what it gives makes the weights those of a timestep.

    Merged into the weights, branches cost nothing at the steps. Sums are rounded, so the same files
    are always added in the same order. Afterwards the weights are as before, bit for bit.
    """
    wanted = sorted(wanted, key=_file_of)
    with ExitStack() as now:
        current: list[float] | None = None

        def at(timestep: float) -> None:
            nonlocal current
            scales = [
                scale if timestep >= branches.file.min_timestep else 0.0
                for branches, scale in wanted
            ]
            if scales == current:
                return
            now.close()
            for (branches, _), scale in zip(wanted, scales, strict=True):
                branches.grafts.scale = scale
                if scale != 0:
                    now.enter_context(merged(branches.grafts))
            current = scales

        yield at


def acting_at(predict_noise: PredictNoise, at: Callable[[float], None]) -> PredictNoise:
    """The same prediction, with the branches that act at its timestep."""

    def predict(latents: Latents, timestep: Tensor, step: int) -> Latents:
        at(float(timestep))
        return predict_noise(latents, timestep, step)

    return predict


def _file_of(wanted: Wanted) -> str:
    return str(wanted[0].file.header.path)
