"""The noise that a sampler begins with so that it would draw given latents (DDIM inversion)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from animatediff.errors import Cancelled
from animatediff.sampling.ask import WITH_PROMPT, Ask, Latents, PredictNoise
from animatediff.sampling.steps.inversion import inverted
from animatediff.sampling.steps.schedulers import Sampler


def noise_behind(
    latents: Latents,
    *,
    sampler: Sampler,
    first: int,
    predict_noise: PredictNoise,
    on_step: Callable[[int, Tensor], None],
    should_stop: Callable[[], bool],
) -> Latents:
    """The noise in latents that DDIM inversion moved to the noise level of a step.

    ``Sampler.start`` with this noise begins with exactly the inverted latents.

    Args:
        latents: finished ones.
        sampler: its noise levels from ``first`` on are visited, backwards.
        first: the step that will be the first.
        predict_noise: predicts what is drawn without guidance.
        on_step: called with how many levels are done, and the latents.
        should_stop: called before each level.

    Raises:
        Cancelled: ``should_stop`` returned true.
    """
    each = sampler.evaluations
    times = sampler.timesteps[first * each :: each].flip(0)
    kept = [torch.ones((), device=latents.device), *(sampler.kept_at(time) for time in times)]
    frames = torch.arange(latents.shape[2])

    def predict(now: Tensor, level: int) -> Tensor:
        if should_stop():
            raise Cancelled(f"Cancelled after inverting {level - 1} of {len(times)} steps.")
        step = sampler.steps - level
        predicted = predict_noise(Ask(now, times[level - 1], step, WITH_PROMPT, frames))
        on_step(level, now)
        return predicted

    moved = inverted(latents, kept=kept, predict=predict, prediction=sampler.prediction)
    if first == 0:
        return moved
    return (moved - kept[-1].sqrt() * latents) / (1 - kept[-1]).sqrt()
