"""Classifier-free guidance, and the model it guides: functions from latents to their noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

from einops import repeat
from jaxtyping import Float
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet

Latents = Float[Tensor, "b c f h w"]
PredictNoise = Callable[[Latents, Tensor, int], Latents]
"""The noise in latents, from the latents, their timestep and the number of the step."""

DECIDED = 400
"""The timestep, of 1,000, below which a clip's layout and camera hardly change any more. To pull
towards a motion there mottles flat areas (``docs/log.md``, 2026-11-27)."""


def model_noise(
    animated: AnimatedUNet,
    *,
    text: Float[Tensor, "b n d"],
    added: Mapping[str, Tensor] | None = None,
) -> PredictNoise:
    """What the model itself predicts, given one text for each clip of the batch.

    SDXL is given ``added`` besides, of which each clip has a row. The model may run in half
    precision; latents and everything done with them stay in fp32.
    """
    dtype = animated.unet.dtype
    states = text.to(dtype)
    conditions = {name: value.to(states) for name, value in (added or {}).items()}

    def predict(latents: Latents, timestep: Tensor, _step: int) -> Latents:
        return animated(latents.to(dtype), timestep, states, added_cond_kwargs=conditions).float()

    return predict


def guided(predict_noise: PredictNoise, *, scale: float) -> PredictNoise:
    """Classifier-free guidance (arXiv 2207.12598, Eq. 6, as Stable Diffusion writes it).

    ``predict_noise`` is asked for two clips at once, the first without the prompt and the second
    with it, and the difference between its answers counts ``scale`` times.
    """

    def predict(latents: Latents, timestep: Tensor, step: int) -> Latents:
        both = repeat(latents, "1 c f h w -> two c f h w", two=2)
        without, along = predict_noise(both, timestep, step).chunk(2)
        return without + scale * (along - without)

    return predict


def guided_to_motion(
    without: PredictNoise,
    along: PredictNoise,
    *,
    scale: float,
    unmoved: Callable[[], AbstractContextManager[None]],
) -> PredictNoise:
    """Classifier-free guidance to which a motion is a condition, as the prompt is.

    A MotionLoRA is part of the model, so ``guided`` asks both times for its motion, and nothing pulls
    towards it. Here the clip without the prompt is predicted without the motion as well.

    Args:
        without: predicts one clip without the prompt.
        along: predicts one clip with it.
        scale: how many times the difference counts.
        unmoved: while this lasts, the model has no MotionLoRA, or less of it.
    """

    def predict(latents: Latents, timestep: Tensor, step: int) -> Latents:
        with unmoved():
            plain = without(latents, timestep, step)
        return plain + scale * (along(latents, timestep, step) - plain)

    return predict


def while_noisy(noisy: PredictNoise, then: PredictNoise, *, least: float = DECIDED) -> PredictNoise:
    """One prediction at timesteps from ``least`` on (while layouts are decided), then another.

    Guidance over a part of the noise only is that of arXiv 2404.07724.
    """

    def predict(latents: Latents, timestep: Tensor, step: int) -> Latents:
        chosen = noisy if float(timestep) >= least else then
        return chosen(latents, timestep, step)

    return predict


def by_step(predictors: Sequence[tuple[int, PredictNoise]]) -> PredictNoise:
    """Several predictions one after the other, each with the last step, from 1, that it is for."""
    if len(predictors) == 1:
        return predictors[0][1]

    def predict(latents: Latents, timestep: Tensor, step: int) -> Latents:
        chosen = next((noise for last, noise in predictors if step < last), predictors[-1][1])
        return chosen(latents, timestep, step)

    return predict
