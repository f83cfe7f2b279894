"""A frozen convolution that does not save its input for the backward pass.

The gradient of its input needs only the weight, but torch (2.13) saves the input too, as if the
weight were trained. Frozen linear layers already save nothing.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.grad import conv2d_input

from animatediff.model.fast.replaced import Replaced


def forget_inputs(model: nn.Module) -> Replaced:
    """Let the frozen convolutions of ``model`` save no inputs, until the result is removed."""
    replaced = Replaced()
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros":
            replaced.put(layer, partial(_convolution, layer))
    return replaced


def _convolution(layer: nn.Conv2d, inputs: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
    learns = any(parameter.requires_grad for parameter in layer.parameters())
    if learns or not torch.is_grad_enabled() or not inputs.requires_grad:
        return nn.Conv2d.forward(layer, inputs)
    place = (layer.stride, layer.padding, layer.dilation, layer.groups)
    output: Tensor = _Frozen.apply(inputs, layer.weight, layer.bias, place)
    return output


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, place: tuple[Any, ...]
    ) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.size, ctx.place = inputs.shape, place
        return F.conv2d(inputs, weight, bias, *place)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        weight = ctx.saved_tensors[0].to(gradients[0].dtype)
        return conv2d_input(ctx.size, weight, gradients[0], *ctx.place), None, None, None
