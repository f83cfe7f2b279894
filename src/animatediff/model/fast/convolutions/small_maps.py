"""Convolutions of small maps as one matrix product each.

AMX multiplies tiles of 16 rows. oneDNN's convolution fills a tile with the pixels of one row of the
output, so a map of 8 pixels' width leaves half of every tile empty, and one of 4 three quarters: 16
maps of 1,280 channels reach 319 and 161 GFLOP/s of one core, and 16 pixels' width 1,060. Here every
pixel's neighbourhood is copied into a row of a matrix (im2col), and the rows of all maps are multiplied
with the weights together: 640 GFLOP/s at both sizes. Sums are those of the convolution in another
order, in fp32, rounded once.

In fp32, Winograd's transforms cost more than they save on maps below 8 pixels' width: 16 maps of 1,280
channels and 4 x 4 pixels take 135 ms of one core so, 211 ms by oneDNN's convolution, and 71 ms here.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.linear import Product, by_onednn
from animatediff.model.fast.replaced import Replaced

WIDTHS = {torch.bfloat16: 16, torch.float32: 8}
"""Pixels of a row of the output below which a product is faster. In bf16, 16 pixels fill a tile."""
NARROWEST = 128
"""Channels below which copying costs what the product saves."""


def computes_by_tiles() -> bool:
    """Return whether this processor multiplies bf16 matrices by AMX, and torch can use it."""
    known = getattr(torch.cpu, "get_capabilities", dict)()  # not in every torch >= 2.10
    return bool(known.get("amx_bf16")) and torch.backends.mkldnn.is_available()


def multiply_small_maps(model: nn.Module, product: Product = by_onednn) -> Replaced:
    """Compute the wide 3x3 convolutions of ``model`` so for small maps, until the result is removed.

    Args:
        model: contains the layers; for large maps they compute as they do now.
        product: computes a linear layer.
    """
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and _fits(layer):
            replaced.put(layer, partial(_convolution, layer, layer.forward, product))
    return replaced


def _fits(layer: nn.Conv2d) -> bool:
    return (
        (layer.kernel_size, layer.dilation, layer.groups) == ((3, 3), (1, 1), 1)
        and (layer.padding, layer.padding_mode) == ((1, 1), "zeros")
        and layer.stride in ((1, 1), (2, 2))
        and min(layer.weight.shape[:2]) >= NARROWEST
        and layer.weight.dtype in WIDTHS
    )


def _convolution(
    layer: nn.Conv2d,
    forward: Callable[[Tensor], Tensor],
    product: Product,
    maps: Float[Tensor, "b c h w"],
) -> Float[Tensor, "b d h2 w2"]:
    large = maps.shape[-1] // layer.stride[1] >= WIDTHS[layer.weight.dtype]
    if torch.is_grad_enabled() or large or maps.dtype != layer.weight.dtype:
        return forward(maps)
    padded = F.pad(maps.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    return multiplied(padded, layer.weight, layer.bias, product=product, stride=layer.stride[0])


def multiplied(
    padded: Float[Tensor, "b h w c"],
    weight: Float[Tensor, "d c k1 k2"],
    bias: Tensor | None,
    *,
    product: Product,
    stride: int = 1,
) -> Float[Tensor, "b d h2 w2"]:
    """Convolve as one matrix product; the result is channels-last.

    Args:
        padded: the input, channels last, with its margin.
        weight: of the convolution.
        bias: of the convolution.
        product: computes a linear layer.
        stride: in both directions.
    """
    tall, wide = weight.shape[2:]
    seen = padded.unfold(1, tall, stride).unfold(2, wide, stride)
    rows = seen.permute(0, 1, 2, 4, 5, 3).flatten(3)
    columns = weight.permute(0, 2, 3, 1).flatten(1)
    return product(rows, columns, bias).permute(0, 3, 1, 2)
