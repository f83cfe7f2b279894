"""Upsampling by two and a 3x3 convolution, computed as four 2x2 convolutions of the small map.

Nearest-neighbour upsampling repeats every row and column, so a 3x3 kernel on the large map sees
only 2x2 different values. Which ones depends on whether a pixel's row and column are even or odd.
Adding the kernel's weights that meet the same value gives four 2x2 kernels: 16 products per output
and input channel instead of 36, in the forward and the backward pass.

In bf16 the added weights are rounded again, and adding up 1,280 x 1,280 kernels takes 50 ms of a core.
A processor with AMX convolves 16 large maps of 8 x 8 pixels in 46 ms, where folding takes 135, and of
16 x 16 in the same time as folding. So only wider maps are folded there.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.models.upsampling import Upsample2D
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.fast.replaced import Replaced

PARITIES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Parities of a row and a column of the large map."""


def fold_upsampling(model: nn.Module, *, narrowest: int = 0) -> Replaced:
    """Fold the upsamplers of ``model`` until the result is removed.

    Args:
        model: contains the layers.
        narrowest: width in pixels below which a small map is upsampled and convolved as it is.
    """
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, Upsample2D) and _is_plain(layer):
            replaced.put(layer, partial(_upsample, layer, narrowest))
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
    layer: Upsample2D, narrowest: int, small: Float[Tensor, "bf c h w"], output_size: Any = None
) -> Float[Tensor, "bf d h2 w2"]:
    conv = layer.conv
    assert isinstance(conv, nn.Conv2d)
    # A branch on the convolution needs the large map, and trained weights must stay in one piece.
    carries = bool(vars(conv)["_forward_hooks"] or vars(conv)["_forward_pre_hooks"])
    narrow = small.shape[-1] < narrowest
    if output_size is not None or carries or narrow or conv.weight.requires_grad:
        return Upsample2D.forward(layer, small, output_size)
    return upsampled(small, conv.weight, conv.bias)


def upsampled(
    small: Float[Tensor, "b c h w"], weight: Float[Tensor, "d c 3 3"], bias: Tensor | None
) -> Float[Tensor, "b d h2 w2"]:
    """Apply a zero-padded 3x3 convolution to ``small`` upsampled by two.

    Weights get no gradient.
    """
    large: Tensor = _Folded.apply(small, weight)
    if bias is None:
        return large
    added = bias.to(large.dtype)[:, None, None]
    return large + added if large.requires_grad else large.add_(added)


class _Folded(torch.autograd.Function):
    """Saves only the weight, which exists anyway; the backward pass adds up the four kernels again."""

    @staticmethod
    def forward(ctx: Any, small: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(weight)
        height, width = small.shape[-2:]
        padded = F.pad(small, (1, 1, 1, 1))
        last = small.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        large: Tensor | None = None
        for r, s in PARITIES:
            seen = padded[..., r : r + height + 1, s : s + width + 1]
            part = F.conv2d(seen, _kernel(weight, r, s))
            if large is None:
                size = (*part.shape[:2], 2 * height, 2 * width)
                # Autocast may have changed the dtype.
                large = torch.empty(
                    size, dtype=part.dtype, device=part.device, memory_format=layout
                )
            large[..., r::2, s::2] = part
        assert large is not None
        return large

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
    """Add up the weights that meet the same value, for a row and a column of this parity."""
    return _added(_added(weight, row, dim=-2), column, dim=-1)


def _added(weight: Tensor, parity: int, *, dim: int) -> Tensor:
    """Merge two of three weights: the last two in even rows, the first two in odd rows."""
    one, two, three = weight.split(1, dim=dim)
    return torch.cat([one + two, three] if parity else [one, two + three], dim=dim)
