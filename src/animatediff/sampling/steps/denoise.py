"""The denoising loop (arXiv 2010.02502).

Guidance, windows and so on wrap ``predict_noise``; ``prediction.py`` lists their order.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import Cancelled, NumericalError
from animatediff.sampling.ask import WITH_PROMPT, Ask, PredictNoise
from animatediff.sampling.steps.schedulers import Sampler


def denoise(
    latents: Float[Tensor, "1 c f h w"],
    *,
    first: int = 0,
    predict_noise: PredictNoise,
    sampler: Sampler,
    on_step: Callable[[int, Tensor], None],
    should_stop: Callable[[], bool],
) -> Float[Tensor, "1 c f h w"]:
    """Denoise the latents of an animation, from the step ``first`` on.

    Args:
        latents: initial latents in fp32; ``Sampler.start`` returns them with ``first``.
        first: the first step to take, from 0; equal to the number of steps, nothing is done. A step
            may run the model more than once.
        predict_noise: the model with its wrappers.
        sampler: computes a step from a prediction.
        on_step: called after each step with the number of finished steps and the predicted
            clean latents.
        should_stop: asked before each step.

    Raises:
        Cancelled: ``should_stop`` returned true.
        NumericalError: a step gave NaN or infinity.
    """
    steps, each, count = sampler.steps, sampler.evaluations, len(sampler.timesteps)
    frames = torch.arange(latents.shape[2])
    for index in range(first * each, count):
        step = index // each
        if should_stop():
            raise Cancelled(f"Cancelled after {step} of {steps} steps.")
        timestep = sampler.timesteps[index]
        seen = sampler.seen(latents, timestep)
        predicted = predict_noise(Ask(seen, timestep, step, WITH_PROMPT, frames))
        latents, guess = sampler.step(predicted, timestep, latents, index)
        check_finite(latents, when=f"in denoising step {step + 1} of {steps}")
        if index + 1 == count or (index + 1) % each == 0:
            on_step(step + 1, guess)
    return latents


def check_finite(numbers: Tensor, *, when: str) -> None:
    """Raise before NaN or infinity becomes black frames.

    Raises:
        NumericalError: there is a NaN or an infinity.
    """
    if not bool(numbers.isfinite().all()):
        raise NumericalError(
            f"The numbers overflowed {when}; "
            "use precision fp32, lower guidance, or another scheduler."
        )
