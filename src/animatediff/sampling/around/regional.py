"""Prompts for parts of the frame: their predictions are blended by masks.

Inside its mask, the prediction for a region's prompt replaces that for the main prompt; where masks
overlap, they share. Soft masks blend. Attention is not restricted, so a region still knows what is
around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.ask import BOTH, WITH_PROMPT, Ask, Latents, PredictNoise


def shares_of(masks: Sequence[Float[Tensor, "f h w"]]) -> Float[Tensor, "n f h w"]:
    """How much each region counts; together at most 1, and the main prompt has the rest."""
    together = torch.stack(list(masks))
    return together / together.sum(dim=0).clamp(min=1)


def regional(
    predict_noise: PredictNoise, *, first_row: int, shares: Float[Tensor, "n f h w"] | None
) -> PredictNoise:
    """Blend the predictions for regions into the one with the prompt.

    Args:
        predict_noise: predicts one prompt.
        first_row: the number of the first region's row.
        shares: of each region, in every frame of the animation and at the size of latents; ``None``
            if there are no regions.
    """
    if shares is None:
        return predict_noise

    def predict(ask: Ask) -> Latents:
        predicted = predict_noise(ask)
        if ask.rows not in (BOTH, WITH_PROMPT):
            return predicted
        main = predicted[-1:]
        along = main
        for number, share in enumerate(shares):
            rows = slice(first_row + number, first_row + number + 1)
            other = predict_noise(replace(ask, latents=ask.latents[-1:], rows=rows))
            along = along + share[ask.frames.cpu()].to(main) * (other - main)
        return torch.cat([predicted[:-1], along])

    return predict
