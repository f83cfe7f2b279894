"""GroupNorm of small bf16 maps on a CPU in contiguous layout, where it is faster.

Convolutions run fastest in channels-last layout. On a CPU, torch (2.13) is then slow at normalising
bf16 maps of fewer than 1,024 pixels: 7.6 ms of one core for 32 maps of 96 x 16 x 16, compared with
1.2 ms in contiguous layout including the copies. From 1,024 pixels up it is the reverse: 1.4 and
17.6 ms for 16 of 320 x 32 x 32.
"""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from animatediff.model.fast.replaced import Replaced

SMALL = 1024
"""Maps with fewer pixels are normalised faster in contiguous layout."""


def plain_norms(module: nn.Module, *, autocast: bool = False) -> Replaced:
    """Let the slow GroupNorms of ``module`` use contiguous layout, until the result is removed.

    Args:
        module: contains the layers.
        autocast: also replace fp32 layers, which get bf16 maps under autocast.
    """
    replaced = Replaced()
    for layer in module.modules():
        if isinstance(layer, nn.GroupNorm) and (_is_slow(layer) or (autocast and _on_cpu(layer))):
            replaced.put(layer, partial(in_plain_layout, layer))
    return replaced


def _is_slow(layer: nn.GroupNorm) -> bool:
    return any(w.device.type == "cpu" and w.dtype == torch.bfloat16 for w in layer.parameters())


def _on_cpu(layer: nn.GroupNorm) -> bool:
    return any(w.device.type == "cpu" for w in layer.parameters())


def in_plain_layout(
    layer: nn.GroupNorm, images: Float[Tensor, "b c *rest"]
) -> Float[Tensor, "b c *rest"]:
    """What ``layer`` computes, with bf16 maps of few pixels copied to plain layout first."""
    if images.dtype == torch.bfloat16 and images.shape[2:].numel() < SMALL:
        images = images.contiguous()
    return F.group_norm(images, layer.num_groups, layer.weight, layer.bias, layer.eps)
