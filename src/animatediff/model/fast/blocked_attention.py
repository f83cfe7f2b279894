"""Attention as plain products of blocks whose scores stay in cache, for half precision on a CPU.

torch's fused attention multiplies small blocks at a fifth of the speed of large products there, unless
it can use AMX, and its backward pass is slower still. Here the scores of a block are computed, used and
forgotten, and the backward pass computes them again: it stores queries, keys and values alone.

Products are summed in fp32 and rounded to half precision once, which would be too coarse for large
scores. So the largest score of each query is found first, and subtracted within the product: scores
that matter are then near 0, where numbers are dense. Queries get one more column for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

BLOCK = 2 << 20
"""Bytes of the scores in a block, about a core's second cache."""
NARROWEST = 32
"""Width of a head below which torch's fused attention draws as fast."""
COLUMNS = 8
"""By which queries and keys are widened; products of a width that 8 divides are fast."""


def attention_in_blocks(
    query: Float[Tensor, "b n s d"], key: Float[Tensor, "b n t d"], value: Float[Tensor, "b n t d"]
) -> Float[Tensor, "b n s d"]:
    """Softmax of the scaled products of queries and keys, times the values."""
    attended: Tensor = _InBlocks.apply(query, key, value)
    return attended


class _InBlocks(torch.autograd.Function):
    """Saves queries, keys and values; the backward pass computes the scores again."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        ctx.save_for_backward(query, key, value)
        q, k, v = (x.flatten(0, 1) for x in (query, key, value))
        attended = torch.empty_like(q)
        with torch.autocast("cpu", enabled=False):  # which would compute the softmax in fp32
            for heads, rows in _blocks(q, k):
                shares = _shares(q[heads, rows], k[heads])
                torch.bmm(shares, v[heads], out=attended[heads, rows])
        return attended.unflatten(0, query.shape[:2])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value = ctx.saved_tensors
        q, k, v, gradient = (x.flatten(0, 1) for x in (query, key, value, gradients[0]))
        for_q = torch.empty_like(q)
        # Added up over the blocks of queries, in fp32.
        for_k, for_v = (torch.zeros_like(x, dtype=torch.float32) for x in (k, v))
        softmax_backward = torch.ops.aten._softmax_backward_data
        for heads, rows in _blocks(q, k):
            shares, given = _shares(q[heads, rows], k[heads]), gradient[heads, rows]
            for_v[heads] += torch.bmm(shares.mT, given)
            for_shares = torch.bmm(given, v[heads].mT)
            for_scores = softmax_backward(for_shares, shares, -1, shares.dtype)
            torch.bmm(for_scores, k[heads], out=for_q[heads, rows])
            for_k[heads] += torch.bmm(for_scores.mT, q[heads, rows])
        scale, shape = q.shape[-1] ** -0.5, query.shape[:2]
        found = (for_q.mul_(scale), for_k.mul_(scale).to(k), for_v.to(v))
        for_query, for_key, for_value = (each.unflatten(0, shape) for each in found)
        return for_query, for_key, for_value


def _blocks(q: Float[Tensor, "n s d"], k: Float[Tensor, "n t d"]) -> Iterator[tuple[slice, slice]]:
    """Yield which heads, and which of their queries, are computed together."""
    (count, queries, _), row = q.shape, k.shape[1] * q.element_size()
    rows = min(queries, max(1, BLOCK // row))
    heads = max(1, BLOCK // (rows * row))
    for head in range(0, count, heads):
        for start in range(0, queries, rows):
            yield slice(head, head + heads), slice(start, start + rows)


def _shares(q: Float[Tensor, "n s d"], k: Float[Tensor, "n t d"]) -> Float[Tensor, "n s t"]:
    """The softmax of the scaled scores."""
    width = q.shape[-1]
    highest = torch.bmm(q, k.mT).amax(-1)
    wide_q, wide_k = F.pad(q, (0, COLUMNS)), F.pad(k, (0, COLUMNS))
    wide_q[..., width] = -highest
    wide_k[..., width] = 1
    nothing = q.new_empty(1, 1, 1)
    scores = torch.baddbmm(nothing, wide_q, wide_k.mT, beta=0, alpha=width**-0.5)
    return scores.softmax(-1)
