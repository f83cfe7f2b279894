"""Perturbed-attention guidance: away from a prediction without self-attention (arXiv 2403.17377).

The image model predicts once more with an identity attention map in its middle block: every position
attends only to itself. The difference is multiplied by ``scale`` (Eq. 16).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.model.processors import exchanged_processors
from animatediff.sampling.ask import BOTH, WITH_PROMPT, Ask, Latents, PredictNoise

if TYPE_CHECKING:
    from diffusers.models.attention_processor import Attention
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class OwnValue:
    """A processor of diffusers for self-attention with the identity as its map."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "bf s c"],
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "bf s c"]:
        """Return ``to_out`` of each token's value."""
        del encoder_hidden_states, attention_mask, temb
        assert attn.to_v is not None
        assert attn.to_out is not None
        own = attn.to_v(hidden_states)
        for layer in attn.to_out:
            own = layer(own)
        return own


def perturbed(unet: UNet2DConditionModel) -> AbstractContextManager[None]:
    """Replace the attention map of the middle block's self-attention by the identity."""
    return exchanged_processors(unet, chosen=_is_perturbed, processor=OwnValue())


def _is_perturbed(name: str) -> bool:
    return name.startswith("mid_block.attentions.") and ".attn1." in name


def away_from_perturbed(
    predict_noise: PredictNoise, *, unet: UNet2DConditionModel, scale: float, guidance: float
) -> PredictNoise:
    """Predict the rows with the prompt a second time, perturbed, and move away from that.

    The wrapper is inside guidance, which multiplies the prediction with the prompt by the guidance
    scale. Its term is divided by that scale, so that ``scale`` is the paper's.

    Args:
        predict_noise: the model.
        unet: its image model.
        scale: factor of the difference; 0 changes nothing.
        guidance: the guidance scale around it, not 0.
    """
    if scale == 0:
        return predict_noise

    def predict(ask: Ask) -> Latents:
        predicted = predict_noise(ask)
        if ask.rows not in (BOTH, WITH_PROMPT):
            return predicted
        along = predicted[-1:]
        with perturbed(unet):
            blind = predict_noise(replace(ask, latents=ask.latents[-1:], rows=WITH_PROMPT))
        return torch.cat([predicted[:-1], along + scale / guidance * (along - blind)])

    return predict
