"""DDIM inversion: the noise from which DDIM would draw given latents (arXiv 2010.02502, Sec. 4.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Predict = Callable[[Tensor, int], Tensor]
"""What the model predicts, noise or velocity, from latents at a level, counted from the cleanest."""


@torch.inference_mode()
def inverted(
    latents: Tensor,
    *,
    kept: Sequence[Tensor],
    predict: Predict,
    prediction: str = "epsilon",
) -> Tensor:
    """Move latents to higher and higher noise levels, as Tune-A-Video computes it.

    Each prediction is made at the noisier of two neighbouring levels from the cleaner latents.

    Args:
        latents: at the first level.
        kept: the share of the signal's variance (alpha-bar) at each level, the cleanest first.
        predict: predicts at ``kept[level]``.
        prediction: what the model predicts, in diffusers' words.

    Returns:
        Latents at the last level.
    """
    for level in range(1, len(kept)):
        now, then = kept[level - 1], kept[level]
        noise = predict(latents, level)
        if prediction == "v_prediction":
            noise = then.sqrt() * noise + (1 - then).sqrt() * latents
        clean = (latents - (1 - now).sqrt() * noise) / now.sqrt()
        latents = then.sqrt() * clean + (1 - then).sqrt() * noise
    return latents
