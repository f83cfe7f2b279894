"""Several prompts at once: a weighted sum of their directions (composable diffusion, arXiv 2206.01714).

``a fox AND a forest :0.5`` predicts each prompt by itself. Together they are one prediction with the
prompt, towards which guidance pulls as usual.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch

from animatediff.sampling.ask import BOTH, WITH_PROMPT, WITHOUT_PROMPT, Ask, Latents, PredictNoise

NEARLY = 1e-6


def add_up(weights: Sequence[float]) -> bool:
    """Whether weights sum to 1, so that nothing without a prompt remains in their sum."""
    return abs(sum(weights) - 1) < NEARLY


def composed(predict_noise: PredictNoise, *, weights: Sequence[float]) -> PredictNoise:
    """Predict the prompts in rows 1, 2, ... and sum them (Eq. 11).

    Args:
        predict_noise: the model.
        weights: of each prompt.
    """
    if tuple(weights) == (1.0,):
        return predict_noise

    def predict(ask: Ask) -> Latents:
        if ask.rows not in (BOTH, WITH_PROMPT):
            return predict_noise(ask)
        one = replace(ask, latents=ask.latents[-1:])
        predicted = predict_noise(ask)
        without = predicted[:-1]
        if not len(without) and not add_up(weights):
            without = predict_noise(replace(one, rows=WITHOUT_PROMPT))
        others = [
            predict_noise(replace(one, rows=slice(row, row + 1)))
            for row in range(2, len(weights) + 1)
        ]
        every = zip(weights, (predicted[-1:], *others), strict=True)
        if len(without):
            along = without + sum(weight * (each - without) for weight, each in every)
        else:
            along = torch.zeros_like(one.latents) + sum(weight * each for weight, each in every)
        return torch.cat([predicted[:-1], along])

    return predict
