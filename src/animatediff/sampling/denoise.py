"""The loop at the heart of it all: from noise to latents, step by step (arXiv 2010.02502).

Whatever else bears on the result is wrapped around ``predict_noise``, in the order that
``animator`` writes down.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from animatediff.errors import Cancelled, NumericalError
from animatediff.sampling.guidance import PredictNoise
from animatediff.sampling.schedulers import Sampler


def denoise(
    noise: Float[Tensor, "1 c f h w"],
    *,
    predict_noise: PredictNoise,
    sampler: Sampler,
    on_step: Callable[[int, Tensor], None],
    should_stop: Callable[[], bool],
) -> Float[Tensor, "1 c f h w"]:
    """The latents of an animation, from unit noise.

    Args:
        noise: unit Gaussian noise in fp32.
        predict_noise: the model and all that is wrapped around it.
        sampler: how a prediction becomes a step.
        on_step: told after each step how many are done, and what the latents will probably become.
        should_stop: asked before each step.

    Raises:
        Cancelled: ``should_stop`` said so.
        NumericalError: a step gave NaN or infinity.
    """
    latents = sampler.start(noise)
    for step, timestep in enumerate(sampler.timesteps):
        if should_stop():
            raise Cancelled(f"Cancelled after {step} of {len(sampler.timesteps)} steps.")
        predicted = predict_noise(sampler.seen(latents, timestep), timestep, step)
        latents, guess = sampler.step(predicted, timestep, latents, step)
        check_finite(latents, when=f"in denoising step {step + 1} of {len(sampler.timesteps)}")
        on_step(step + 1, guess)
    return latents


def check_finite(numbers: Tensor, *, when: str) -> None:
    """Stop before numbers that are none become black frames.

    Raises:
        NumericalError: there is a NaN or an infinity.
    """
    if not bool(numbers.isfinite().all()):
        raise NumericalError(
            f"The numbers overflowed {when}; "
            "use precision fp32, lower guidance, or another scheduler."
        )
