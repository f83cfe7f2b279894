"""Attention of more sequences than a CUDA kernel's grid can count: a slice of them at a time."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

CUDA_GRID_LIMIT = 65_535
"""CUDA's attention kernels refuse a larger (batch x heads), because of the grid's size."""


def attention_within_grid(
    query: Float[Tensor, "b n s d"], key: Float[Tensor, "b n t d"], value: Float[Tensor, "b n t d"]
) -> Float[Tensor, "b n s d"]:
    """Compute torch's attention, on CUDA in slices that a kernel's grid can count."""
    if query.device.type == "cuda":
        return attention_in_slices(query, key, value, limit=CUDA_GRID_LIMIT)
    return F.scaled_dot_product_attention(query, key, value)


def attention_in_slices(
    query: Float[Tensor, "b n s d"],
    key: Float[Tensor, "b n t d"],
    value: Float[Tensor, "b n t d"],
    *,
    limit: int,
) -> Float[Tensor, "b n s d"]:
    """Compute torch's attention with at most ``limit`` sequences per call."""
    batch, heads = query.shape[:2]
    if batch * heads <= limit:
        return F.scaled_dot_product_attention(query, key, value)
    if batch > limit:
        rows = zip(*(x.split(limit) for x in (query, key, value)), strict=True)
        return torch.cat([attention_in_slices(q, k, v, limit=limit) for q, k, v in rows])
    size = max(1, limit // batch)
    slices = zip(*(x.split(size, dim=1) for x in (query, key, value)), strict=True)
    return torch.cat([F.scaled_dot_product_attention(q, k, v) for q, k, v in slices], dim=1)
