"""The image model's Transformers in channels-last memory, where maps are tokens without a copy.

diffusers copies the tokens of every map to plain layout before the last projection.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced
from animatediff.model.fast.text.cached_text import CachedText
from animatediff.model.fast.text.equal_halves import EqualHalves


def without_copies(model: nn.Module, *, halves: EqualHalves) -> Replaced:
    """Compute the Transformers of ``model`` without copies, until the result is removed.

    Args:
        model: contains the layers.
        halves: remembers which maps have equal halves, so that what precedes the text is computed
            once.
    """
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, Transformer2DModel) and _is_plain(layer):
            replaced.put(layer, partial(_transformer, layer, halves))
    return replaced


def _is_plain(layer: Transformer2DModel) -> bool:
    return bool(layer.is_input_continuous) and all(_is_plain_block(b) for b in _blocks(layer))


def _is_plain_block(block: Any) -> bool:
    return (
        isinstance(block, BasicTransformerBlock)
        and block.norm_type == "layer_norm"
        and block.pos_embed is None
        and not block.only_cross_attention
        and block.attn2 is not None
    )


def _blocks(layer: Transformer2DModel) -> list[Any]:
    return list(layer.transformer_blocks)


def _transformer(
    layer: Transformer2DModel,
    halves: EqualHalves,
    hidden_states: Float[Tensor, "bf c h w"],
    encoder_hidden_states: Tensor | None = None,
    timestep: Any = None,
    added_cond_kwargs: Any = None,
    class_labels: Any = None,
    cross_attention_kwargs: Any = None,
    attention_mask: Tensor | None = None,
    encoder_attention_mask: Tensor | None = None,
    return_dict: bool = True,
) -> Any:
    half = halves.half_of(hidden_states)
    halves.forget()
    blocks = _blocks(layer)
    unknown = bool(cross_attention_kwargs) or any(b._chunk_size is not None for b in blocks)
    masked = attention_mask is not None or encoder_attention_mask is not None
    if torch.is_grad_enabled() or unknown or masked:
        return Transformer2DModel.forward(
            layer,
            hidden_states,
            encoder_hidden_states,
            timestep,
            added_cond_kwargs,  # pyright: ignore[reportArgumentType] - diffusers says dict, and takes None
            class_labels,
            cross_attention_kwargs,
            attention_mask,
            encoder_attention_mask,
            return_dict,
        )
    # Another processor may look from one half into the other.
    if half is not None and isinstance(blocks[0].attn1.processor, CachedText):
        tokens = _looked_around(blocks[0], _tokens(layer, half))
        tokens = torch.cat([tokens, tokens])
    else:
        tokens = _looked_around(blocks[0], _tokens(layer, hidden_states))
    for block in blocks:
        if block is not blocks[0]:
            tokens = _looked_around(block, tokens)
        tokens = (
            block.attn2(block.norm2(tokens), encoder_hidden_states=encoder_hidden_states) + tokens
        )
        tokens = block.ff(block.norm3(tokens)) + tokens
    output = hidden_states + _maps(layer, tokens, size=hidden_states.shape[-2:])
    return Transformer2DModelOutput(sample=output) if return_dict else (output,)


def _looked_around(block: Any, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s c"]:
    """Tokens plus what their self-attention gathers."""
    return block.attn1(block.norm1(tokens)) + tokens


def _tokens(layer: Transformer2DModel, maps: Float[Tensor, "bf c h w"]) -> Float[Tensor, "bf s d"]:
    normed = layer.norm(maps)
    if layer.use_linear_projection:
        return layer.proj_in(normed.permute(0, 2, 3, 1).flatten(1, 2))
    return layer.proj_in(normed).permute(0, 2, 3, 1).flatten(1, 2)


def _maps(
    layer: Transformer2DModel, tokens: Float[Tensor, "bf s d"], *, size: torch.Size
) -> Float[Tensor, "bf c h w"]:
    if layer.use_linear_projection:
        return layer.proj_out(tokens).unflatten(1, size).permute(0, 3, 1, 2)
    return layer.proj_out(tokens.unflatten(1, size).permute(0, 3, 1, 2))
