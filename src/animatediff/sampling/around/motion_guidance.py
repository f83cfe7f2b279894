"""Guidance towards the motion of MotionLoRAs, in addition to the prompt.

A MotionLoRA is part of the model, so classifier-free guidance applies it to both predictions. Here the
prediction without the prompt is made without the MotionLoRA as well.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

from animatediff.sampling.around.guidance import Guidance
from animatediff.sampling.ask import WITH_PROMPT, WITHOUT_PROMPT, Ask, Latents, PredictNoise

DECIDED = 400
"""The timestep, of 1,000, below which a clip's layout and camera hardly change any more. Motion
guidance below it mottles flat areas (``docs/log.md``, 2026-11-27)."""


def guided_to_motion(
    predict_noise: PredictNoise,
    *,
    guidance: Guidance,
    unmoved: Callable[[Ask], AbstractContextManager[None]],
) -> PredictNoise:
    """Classifier-free guidance with the motion as part of the condition.

    Args:
        predict_noise: predicts one clip.
        guidance: combines the two predictions.
        unmoved: context in which the model has no MotionLoRA, or less of it.
    """

    def predict(ask: Ask) -> Latents:
        with unmoved(ask):
            without = predict_noise(replace(ask, rows=WITHOUT_PROMPT))
        return guidance(without, predict_noise(replace(ask, rows=WITH_PROMPT)), ask)

    return predict
