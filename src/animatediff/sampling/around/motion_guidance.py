"""Guidance towards the motion of MotionLoRAs, as towards the prompt.

A MotionLoRA is part of the model, so plain guidance predicts both clips with its motion, and nothing
pulls towards it. Here the clip without the prompt is predicted without the motion as well.
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
        unmoved: inside this context the model has no MotionLoRA, or less of it.
    """

    def predict(ask: Ask) -> Latents:
        with unmoved(ask):
            without = predict_noise(replace(ask, rows=WITHOUT_PROMPT))
        return guidance(without, predict_noise(replace(ask, rows=WITH_PROMPT)))

    return predict
