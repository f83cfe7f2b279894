"""Classifier-free guidance (Ho and Salimans, arXiv 2207.12598)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from einops import repeat

from animatediff.sampling.ask import BOTH, Ask, Latents, PredictNoise

Guidance = Callable[[Latents, Latents, Ask], Latents]
"""Combines the prediction without the prompt and the one with it; the ask has one clip."""


def classifier_free(scale: float) -> Guidance:
    """Guidance by a scale (Eq. 6, as Stable Diffusion writes it)."""

    def combined(without: Latents, along: Latents, ask: Ask) -> Latents:
        del ask
        return without + scale * (along - without)

    return combined


def guided(predict_noise: PredictNoise, *, guidance: Guidance) -> PredictNoise:
    """Predict with and without the prompt in one batch, and combine the two."""

    def predict(ask: Ask) -> Latents:
        both = repeat(ask.latents, "1 c f h w -> two c f h w", two=2)
        without, along = predict_noise(replace(ask, latents=both, rows=BOTH)).chunk(2)
        return guidance(without, along, ask)

    return predict
