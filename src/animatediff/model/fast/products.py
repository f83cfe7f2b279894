"""Attention as two plain batched products, for sizes at which torch's fused attention is slower."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def attention_as_products(
    query: Float[Tensor, "b n s d"], key: Float[Tensor, "b n t d"], value: Float[Tensor, "b n t d"]
) -> Float[Tensor, "b n s d"]:
    """Softmax of the scaled products of queries and keys, times the values; keeps all scores."""
    batch = query.shape[0]
    query, key, value = (x.flatten(0, 1) for x in (query, key, value))
    nothing = torch.empty(1, 1, 1, dtype=query.dtype, device=query.device)
    scale = query.shape[-1] ** -0.5
    scores = torch.baddbmm(nothing, query, key.mT, beta=0, alpha=scale)
    return torch.bmm(scores.softmax(-1).to(value.dtype), value).unflatten(0, (batch, -1))
