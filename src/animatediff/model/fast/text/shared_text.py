"""Cross-attention to a text that all frames of a clip share.

Keys and values of the text are the same in every frame, so they are computed once per clip, and the
frames are concatenated as queries. The arithmetic per token is unchanged.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from diffusers.models.attention_processor import Attention
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.blocked_attention import attention_in_blocks
from animatediff.model.fast.products import attention_as_products
from animatediff.model.fast.sliced_attention import attention_within_grid


class ClipAttention:
    """diffusers' attention processor for self-attention, and for text per clip or per frame.

    Args:
        products: compute plain products on a CPU, whatever they save for the backward pass. At the
            sizes of the built-in world they are faster than torch's fused attention.
    """

    def __init__(self, *, products: bool = False) -> None:
        self.products = products

    def __call__(
        self,
        attn: Attention,
        hidden_states: Float[Tensor, "bf s c"],
        encoder_hidden_states: Float[Tensor, "b n d"] | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Float[Tensor, "bf s c"]:
        """Compute attention; ``attention_mask`` and ``temb`` are not used."""
        del temb
        assert attention_mask is None, "frames are never masked"
        assert attn.to_k is not None
        assert attn.to_v is not None
        assert attn.to_out is not None
        text = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        clips, frames = len(text), len(hidden_states) // len(text)
        query, key, value = attn.to_q(hidden_states), attn.to_k(text), attn.to_v(text)
        query = rearrange(query, "(b f) s (n d) -> b n (f s) d", b=clips, n=attn.heads)
        key, value = (rearrange(x, "b s (n d) -> b n s d", n=attn.heads) for x in (key, value))
        if self.products and query.device.type == "cpu":
            attended = attention_as_products(query, key, value)
        else:
            attended = attend(query, key, value, to_text=encoder_hidden_states is not None)
        attended = rearrange(attended, "b n (f s) d -> (b f) s (n d)", f=frames)
        for layer in attn.to_out:
            attended = layer(attended)
        return attended


def attend(
    query: Float[Tensor, "b n s d"],
    key: Float[Tensor, "b n t d"],
    value: Float[Tensor, "b n t d"],
    *,
    to_text: bool,
) -> Float[Tensor, "b n s d"]:
    """Compute attention; on a CPU, as plain products if they save no more for the backward pass.

    Fused attention to a text saves queries and result, and computes gradients of keys and values
    that are not needed. Plain products with few keys save the scores instead. The choice depends
    only on shapes, so results do not depend on whether anything is trained.
    """
    if query.device.type != "cpu":
        return attention_within_grid(query, key, value)
    keys, width = key.shape[2:]
    if keys <= (2 * width if to_text else width):
        return attention_as_products(query, key, value)
    if query.dtype in (torch.bfloat16, torch.float16):
        return attention_in_blocks(query, key, value)
    return F.scaled_dot_product_attention(query, key, value)


def takes_shared_text(unet: UNet2DConditionModel) -> bool:
    """Return whether ``ClipAttention`` computes the same as every attention of ``unet``."""
    attentions = [layer for layer in unet.modules() if isinstance(layer, Attention)]
    return unet.encoder_hid_proj is None and all(_is_plain(layer) for layer in attentions)


def _is_plain(layer: Attention) -> bool:
    extras = (layer.spatial_norm, layer.group_norm, layer.norm_q, layer.norm_k, layer.norm_cross)
    own = (layer.residual_connection, layer.upcast_attention, layer.upcast_softmax)
    if layer.to_out is None or layer.to_k is None or layer.to_v is None:
        return False
    dropouts = [each.p for each in layer.to_out if isinstance(each, nn.Dropout)]
    return not any((*extras, *own, *dropouts)) and layer.rescale_output_factor == 1
