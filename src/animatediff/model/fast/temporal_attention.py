"""Attention along the frames in half precision: products in fp32 on a CPU, in pieces that fit a cache.

Sequences of a few frames are short. torch's fused kernel converts each by itself, and its softmax takes
longer for a row of 8 numbers than the products do. Here some positions of all frames are converted at a
time, without being permuted, and multiplied by batched products. For 2 clips of 8 frames, 1,024
positions and 320 channels that takes 29 ms of one core, where the fused kernel takes 48 ms in fp32.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced
from animatediff.model.motion_module import TemporalAttention

PIECE = 1 << 20
"""Bytes of the queries of a piece in fp32: half of a core's second cache."""
LARGEST = 60.0
"""Scores up to which sums of exponentials neither overflow nor vanish in fp32."""


def attend_in_pieces(model: nn.Module) -> Replaced:
    """Let the temporal attentions of ``model`` attend in fp32, until the result is removed."""
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, TemporalAttention) and layer.to_q.weight.dtype == torch.bfloat16:
            replaced.put(layer, partial(_attend, layer), method="_attend")
    return replaced


def _attend(
    layer: TemporalAttention,
    query: Float[Tensor, "bf s c"],
    key: Float[Tensor, "bf s c"],
    value: Float[Tensor, "bf s c"],
) -> Float[Tensor, "bf s c"]:
    if torch.is_grad_enabled():
        plain: Any = TemporalAttention._attend  # pyright: ignore[reportPrivateUsage]
        return plain(layer, query, key, value)
    frames, channels = layer.clip.num_frames, query.shape[-1]
    attended = torch.empty_like(query)
    positions = max(1, PIECE // (4 * frames * channels))
    clips = (x.split(frames) for x in (query, key, value, attended))
    for clip in zip(*clips, strict=True):
        for q, k, v, out in zip(*(x.split(positions, dim=1) for x in clip), strict=True):
            out.copy_(_attended(q, k, v, heads=layer.heads))
    return attended


def _attended(
    query: Float[Tensor, "f s c"],
    key: Float[Tensor, "f s c"],
    value: Float[Tensor, "f s c"],
    *,
    heads: int,
) -> Float[Tensor, "f s c"]:
    """Attention at some positions of a clip, in fp32."""
    frames, positions, channels = query.shape
    width = channels // heads
    # Position and head are one axis, and the rows of a sequence are far apart: nothing is permuted.
    q, k, v = (
        x.to(torch.float32, memory_format=torch.contiguous_format)
        .view(frames, positions * heads, width)
        .transpose(0, 1)
        for x in (query, key, value)
    )
    nothing = q.new_empty(1, 1, 1)
    scores = torch.baddbmm(nothing, q, k.mT, beta=0, alpha=width**-0.5)
    attended = torch.bmm(_softmax(scores), v)
    return attended.view(positions, heads, frames, width).permute(2, 0, 1, 3).flatten(2)


def _softmax(scores: Float[Tensor, "n f g"]) -> Float[Tensor, "n f g"]:
    """The softmax of the rows, in place where no score is large."""
    lowest, highest = scores.aminmax()
    if not -LARGEST < float(lowest) <= float(highest) < LARGEST:
        return scores.softmax(-1)
    sums = scores.exp_() @ scores.new_ones(scores.shape[-1], 1)
    return scores.div_(sums)
