"""Upsampling to twice the size and a 3x3 convolution, as four 2x2 convolutions of the small map.

Nearest-neighbour upsampling repeats every row and column, so a 3x3 kernel on the large map sees only
2x2 different numbers: which, depends on whether a pixel's row and column are even or odd. Adding the
kernel's weights that meet the same number gives four kernels of 2x2, and 16 products for every output
and input channel where there were 36, on the way there and on the way back.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.upsampling import Upsample2D
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced

PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Of a row and a column of the large map."""


def fold_upsampling(unet: UNet2DConditionModel) -> Replaced:
    """Let the upsamplers of ``unet`` compute so, until the result is removed."""
    replaced = Replaced()
    for layer in unet.modules():
        if isinstance(layer, Upsample2D) and _is_plain(layer):
            replaced.put(layer, partial(_upsample, layer))
    return replaced


def _is_plain(layer: Upsample2D) -> bool:
    conv = getattr(layer, "conv", None)
    return (
        isinstance(conv, nn.Conv2d)
        and layer.interpolate
        and layer.norm is None
        and (conv.kernel_size, conv.stride, conv.dilation) == ((3, 3), (1, 1), (1, 1))
        and (conv.padding, conv.groups, conv.padding_mode) == ((1, 1), 1, "zeros")
    )


def _upsample(
    layer: Upsample2D, small: Float[Tensor, "bf c h w"], output_size: Any = None
) -> Float[Tensor, "bf d h2 w2"]:
    conv = layer.conv
    assert isinstance(conv, nn.Conv2d)
    # A branch on the convolution must see the large map; and weights that learn are left in one piece.
    carries = bool(vars(conv)["_forward_hooks"] or vars(conv)["_forward_pre_hooks"])
    if output_size is not None or carries or conv.weight.requires_grad:
        return Upsample2D.forward(layer, small, output_size)
    return upsampled(small, conv.weight, conv.bias)


def upsampled(
    small: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Tensor | None
) -> Float[Tensor, "b d h2 w2"]:
    """The 3x3 convolution, padded by zeros, of ``small`` made twice as large.

    Weights get no gradient.
    """
    large: Tensor = _Folded.apply(small, weight)
    return large if bias is None else large + bias.to(large.dtype)[:, None, None]


class _Folded(torch.autograd.Function):
    """Keeps the weight alone, which is there anyway: the four kernels are added up again."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        height, width = small.shape[-2:]
        padded = F.pad(small, (1, 1, 1, 1))
        large = [
            F.conv2d(padded[..., r : r + height + 1, s : s + width + 1], _kernel(weight, r, s))
            for r, s in PARITIES
        ]
        return rearrange(large, "(r s) b d h w -> b d (h r) (w s)", r=2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weight,) = ctx.saved_tensors
        (gradient,) = gradients
        batch, _, height, width = gradient.shape
        height, width = height // 2, width // 2
        padded = gradient.new_zeros(batch, weight.shape[1], height + 2, width + 2)
        for r, s in PARITIES:
            kernel = _kernel(weight, r, s).to(gradient.dtype)
            part = F.conv_transpose2d(gradient[..., r::2, s::2].contiguous(), kernel)
            padded[..., r : r + height + 1, s : s + width + 1] += part
        return padded[..., 1:-1, 1:-1], None


def _kernel(weight: Float[Tensor, "d c 3 3"], row: int, column: int) -> Float[Tensor, "d c 2 2"]:
    """The weights that meet the same number, added up, for a row and a column of this parity."""
    return _added(_added(weight, row, dim=-2), column, dim=-1)


def _added(weight: Tensor, parity: int, *, dim: int) -> Tensor:
    """Two weights of three: in even rows the last two meet one number, in odd ones the first two."""
    one, two, three = weight.split(1, dim=dim)
    return torch.cat([one + two, three] if parity else [one, two + three], dim=dim)
