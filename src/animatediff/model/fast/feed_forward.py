"""Feed-forward layers a few thousand tokens at a time, so that the widest activation stays in cache.

The inner activation of a Transformer's feed-forward layer is eight times as wide as its tokens. For a
clip it has hundreds of megabytes, which are written, read and thrown away. Tokens do not depend on
each other here, so they are taken in blocks.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from diffusers.models.activations import GEGLU
from diffusers.models.attention import FeedForward as ImageFeedForward
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.eight_bits import expanded
from animatediff.model.fast.linear import Product
from animatediff.model.fast.replaced import Replaced, is_hooked
from animatediff.model.motion_module import FeedForward, GatedProjection

BLOCK = 16 << 20
"""Bytes of the inner activation in a block. Each block reads the weights again."""


def in_blocks(model: nn.Module, *, product: Product, gated: Product) -> Replaced:
    """Compute the feed-forward layers of ``model`` in blocks, until the result is removed.

    Args:
        model: contains the layers.
        product: computes a linear layer.
        gated: computes GEGLU.
    """
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, FeedForward | ImageFeedForward) and _is_plain(layer):
            replaced.put(layer, partial(_feed_forward, layer, product, gated))
    return replaced


def _is_plain(layer: FeedForward | ImageFeedForward) -> bool:
    first, *between, last = layer.net
    return (
        isinstance(first, GEGLU | GatedProjection)
        and isinstance(last, nn.Linear)
        and all(isinstance(each, nn.Identity | nn.Dropout) for each in between)
    )


def _feed_forward(
    layer: FeedForward | ImageFeedForward,
    product: Product,
    gated: Product,
    tokens: Float[Tensor, "*rows c"],
) -> Float[Tensor, "*rows c"]:
    first, last = layer.net[0], layer.net[-1]
    inner = first.get_submodule("proj")
    assert isinstance(inner, nn.Linear)
    assert isinstance(last, nn.Linear)
    carries = any(is_hooked(each) for each in (*layer.net, inner))
    if carries or torch.is_grad_enabled() or tokens.dtype != inner.weight.dtype:
        plain: Any = type(layer).forward
        return plain(layer, tokens)
    widening, narrowing = expanded(inner.weight), expanded(last.weight)
    rows = tokens.reshape(-1, tokens.shape[-1])
    result = rows.new_empty(len(rows), last.out_features)
    size = max(64, BLOCK // (last.in_features * rows.element_size()))
    for start in range(0, len(rows), size):
        block = gated(rows[start : start + size], widening, inner.bias)
        result[start : start + size] = product(block, narrowing, last.bias)
    return result.view(*tokens.shape[:-1], -1)
