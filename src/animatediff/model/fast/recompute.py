"""Activation checkpointing: which activations are saved, and which the backward pass recomputes.

Backpropagation saves the input of every layer. Most of these follow from a few tensors by cheap
arithmetic: a norm or an activation from its input, and the widest tensor of a Transformer, inside
its feed-forward layer, from one an eighth as wide. A stretch of layers saves only its inputs and is
recomputed in the backward pass, up to the last layer whose input is needed. A frozen convolution or
projection at the end of a stretch needs no input, so it is not repeated. This is the checkpointing
of Chen et al. (arXiv 1604.06174), with stretches chosen by their cost.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from animatediff.model.fast.replaced import Replaced

if TYPE_CHECKING:
    from diffusers.models.activations import GEGLU
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

Stretch = Callable[..., Tensor]
Keep = Callable[[Stretch, Tensor], Tensor]
"""``recomputed`` or ``kept``."""


def recomputed(stretch: Stretch, *inputs: Tensor) -> Tensor:
    """Compute ``stretch(*inputs)``, saving only ``inputs`` for the backward pass."""
    if not torch.is_grad_enabled():
        return stretch(*inputs)
    # No layer draws random numbers (dropout is 0 here), so their state is not saved.
    return checkpoint(stretch, *inputs, use_reentrant=False, preserve_rng_state=False)


def repeated(stretch: Stretch, inputs: Tensor) -> Tensor:
    """Like ``recomputed``, for a stretch without trained weights, with less bookkeeping.

    The whole stretch is recomputed, so it must end before a convolution or projection.
    """
    if not (torch.is_grad_enabled() and inputs.requires_grad):
        return stretch(inputs)
    repeated: Tensor = _Repeated.apply(stretch, inputs)
    return repeated


class _Repeated(torch.autograd.Function):
    """Saves the inputs; the backward pass computes the stretch again and differentiates it."""

    @staticmethod
    def forward(ctx: Any, stretch: Stretch, inputs: Tensor) -> Tensor:
        kind = inputs.device.type
        ctx.save_for_backward(inputs)
        ctx.stretch = stretch
        ctx.autocast = (kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))
        return stretch(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, Tensor]:
        inputs = ctx.saved_tensors[0].detach().requires_grad_()
        with torch.enable_grad(), torch.autocast(*ctx.autocast):
            output = ctx.stretch(inputs)
        (gradient,) = torch.autograd.grad(output, inputs, gradients)
        return None, gradient


def kept(stretch: Stretch, inputs: Tensor) -> Tensor:
    """Compute ``stretch(inputs)`` and save everything, as without this file."""
    return stretch(inputs)


def recompute_image_model(unet: UNet2DConditionModel) -> Replaced:
    """Let the ResNets and Transformers of ``unet`` save little, until the result is removed.

    A ResNet saves the inputs of its two norms. A feed-forward layer saves its inner projection, but
    not the gate's activation. Layers that differ from Stable Diffusion's stay unchanged.
    """
    from diffusers.models.activations import GEGLU
    from diffusers.models.resnet import ResnetBlock2D

    replaced = Replaced()
    for layer in unet.modules():
        if isinstance(layer, ResnetBlock2D) and _is_plain_resnet(layer):
            replaced.put(layer, partial(_resnet, layer))
        elif isinstance(layer, GEGLU):
            replaced.put(layer, partial(_gated, layer))
    return replaced


def _is_plain_resnet(layer: ResnetBlock2D) -> bool:
    """Return whether ``_resnet`` computes the same as this ResNet."""
    return (
        layer.time_embedding_norm == "default"
        and layer.upsample is None
        and layer.downsample is None
        and not layer.skip_time_act
        and layer.dropout.p == 0
    )


def _resnet(
    layer: ResnetBlock2D, inputs: Float[Tensor, "bf c h w"], time: Float[Tensor, "bf t"] | None
) -> Float[Tensor, "bf d h w"]:
    """Apply norm, SiLU and convolution twice; add the time between them and the inputs at the end."""

    def normed(norm: nn.GroupNorm, inputs: Tensor) -> Tensor:
        again = recomputed if norm.weight.requires_grad else repeated
        return again(lambda inputs: layer.nonlinearity(norm(inputs)), inputs)

    project: Any = layer.time_emb_proj
    hidden = layer.conv1(normed(layer.norm1, inputs))
    if project is not None and time is not None:
        hidden = hidden + project(layer.nonlinearity(time))[:, :, None, None]
    hidden = layer.conv2(normed(layer.norm2, hidden))
    residual = inputs if layer.conv_shortcut is None else layer.conv_shortcut(inputs)
    return (residual + hidden) / layer.output_scale_factor


def _gated(layer: GEGLU, tokens: Float[Tensor, "bf s c"]) -> Float[Tensor, "bf s w"]:
    return repeated(gated, layer.proj(tokens))


def gated(projected: Float[Tensor, "bf s w2"]) -> Float[Tensor, "bf s w"]:
    """Multiply half of a projection by the GELU of the other half (arXiv 2002.05202)."""
    value, gate = projected.chunk(2, dim=-1)
    return value * F.gelu(gate)
