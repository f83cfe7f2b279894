"""Guidance rescale: guided predictions keep the contrast of unguided ones (arXiv 2305.08891, Sec. 3.4).

A large guidance scale increases the standard deviation of predictions and overexposes frames.
"""

from __future__ import annotations

from animatediff.sampling.around.guidance import Guidance
from animatediff.sampling.ask import Ask, Latents


def rescaled(guidance: Guidance, *, share: float) -> Guidance:
    """Scale a guided prediction to the standard deviation of the one with the prompt (Eq. 15, 16).

    Args:
        guidance: combines the two predictions.
        share: share of the rescaled prediction, 0 to 1; the paper suggests 0.7.
    """
    if share == 0:
        return guidance

    def combined(without: Latents, along: Latents, ask: Ask) -> Latents:
        guided = guidance(without, along, ask)
        clip = tuple(range(1, guided.ndim))
        ratio = along.std(dim=clip, keepdim=True) / guided.std(dim=clip, keepdim=True)
        return share * (guided * ratio) + (1 - share) * guided

    return combined
