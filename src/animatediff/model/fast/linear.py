"""Linear layers by the library that is fastest on this processor, oneDNN or torch's own choice.

torch hands fp32 products on a CPU to MKL. oneDNN is up to three times faster on processors for which
MKL is not tuned, and 5 to 10 % faster where both are good. It can also apply GELU and multiply by
another tensor while it writes the result. 1x1 convolutions are linear layers in channels-last memory,
where torch's convolution is slower.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.model.eight_bits import expanded
from animatediff.model.fast.replaced import Replaced

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""Applies a weight and a bias to the last dimension of a tensor."""

NARROWEST = 64
"""Layers with fewer channels stay as they are."""
LEAST_WORK = 1 << 24
"""Products of a layer below which a call of oneDNN costs more than it saves."""


def by_onednn(
    inputs: Float[Tensor, "*rows c"], weight: Float[Tensor, "d c"], bias: Tensor | None
) -> Float[Tensor, "*rows d"]:
    """A linear layer by oneDNN if it is large enough, otherwise by torch; no gradients."""
    if inputs.numel() * len(weight) < LEAST_WORK:
        return F.linear(inputs, weight, bias)
    # With a strided weight, oneDNN takes a thousand times as long.
    weight = weight.contiguous()
    return torch.ops.mkldnn._linear_pointwise(inputs, weight, bias, "none", [], "")


def by_torch(
    inputs: Float[Tensor, "*rows c"], weight: Float[Tensor, "d c"], bias: Tensor | None
) -> Float[Tensor, "*rows d"]:
    """A linear layer by the library that torch chooses."""
    # torch copies the weight once for each row of a map that is not one block of memory.
    rows = inputs.reshape(-1, inputs.shape[-1])
    return F.linear(rows, weight, bias).view(*inputs.shape[:-1], -1)


def gated_by_onednn(
    inputs: Float[Tensor, "rows c"], weight: Float[Tensor, "w2 c"], bias: Tensor | None
) -> Float[Tensor, "rows w"]:
    """GEGLU (arXiv 2002.05202) by oneDNN: GELU and the product of the halves cost no extra pass."""
    if inputs.numel() * len(weight) < LEAST_WORK:
        return gated_by_torch(inputs, weight, bias)
    value, gate = weight.contiguous().chunk(2)
    value_bias, gate_bias = (None, None) if bias is None else bias.chunk(2)
    gates = torch.ops.mkldnn._linear_pointwise(inputs, gate, gate_bias, "gelu", [], "none")
    return torch.ops.mkldnn._linear_pointwise.binary(inputs, gates, value, value_bias, "mul")


def gated_by_torch(
    inputs: Float[Tensor, "rows c"], weight: Float[Tensor, "w2 c"], bias: Tensor | None
) -> Float[Tensor, "rows w"]:
    """GEGLU (arXiv 2002.05202): half of a projection times the GELU of the other half."""
    value, gate = F.linear(inputs, weight, bias).chunk(2, dim=-1)
    return value * F.gelu(gate)


def replace_linear(model: nn.Module, product: Product) -> Replaced:
    """Compute the linear layers and 1x1 convolutions of ``model`` by ``product``, until removed."""
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, nn.Linear) and min(layer.weight.shape) >= NARROWEST:
            replaced.put(layer, partial(_linear, layer, product))
        elif isinstance(layer, nn.Conv2d) and _is_pointwise(layer):
            replaced.put(layer, partial(_pointwise, layer, product))
    return replaced


def _linear(
    layer: nn.Linear, product: Product, inputs: Float[Tensor, "*rows c"]
) -> Float[Tensor, "*rows d"]:
    if torch.is_grad_enabled() or inputs.dtype != layer.weight.dtype:
        return nn.Linear.forward(layer, inputs)
    return product(inputs, expanded(layer.weight), layer.bias)


def _is_pointwise(layer: nn.Conv2d) -> bool:
    return (
        (layer.kernel_size, layer.stride, layer.padding, layer.groups)
        == ((1, 1), (1, 1), (0, 0), 1)
    ) and min(layer.weight.shape[:2]) >= NARROWEST


def _pointwise(
    layer: nn.Conv2d, product: Product, maps: Float[Tensor, "b c h w"]
) -> Float[Tensor, "b d h w"]:
    if torch.is_grad_enabled() or maps.dtype != layer.weight.dtype:
        return nn.Conv2d.forward(layer, maps)
    weight = layer.weight[:, :, 0, 0]
    return product(maps.permute(0, 2, 3, 1), weight, layer.bias).permute(0, 3, 1, 2)
