"""MotionLoRA: a new motion pattern, such as a camera move, from few parameters and few clips.

Low-rank branches on the temporal self-attentions of the motion modules; several add up: Sec. 4.3 of
Guo et al., arXiv 2307.04725. Attention sees one position of the picture at a time. A motion that
depends on the position, such as a roll, also needs branches on the layers around it, as in
MotionDirector (arXiv 2310.08465).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from torch import nn

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import PROJECTIONS, LowRankSet
from animatediff.model.motion_module import MotionModule, TemporalAttention

MotionLayers = Literal["attention", "all"]
"""Layers of motion modules that carry branches: attention, as in the paper, or every linear layer."""


def temporal_projections(animated_unet: AnimatedUNet) -> dict[str, nn.Module]:
    """Return the q, k, v and output projections of every temporal attention, by motion weight path.

    Raises:
        InputError: the motion is a temporal convolution, which has no attention.
    """
    return {
        f"{path}.{projection}": attention.get_submodule(projection)
        for path, attention in _motion_layers(animated_unet)
        if isinstance(attention, TemporalAttention)
        for projection in PROJECTIONS
    }


def linear_layers(animated_unet: AnimatedUNet) -> dict[str, nn.Module]:
    """Return every linear layer: attention, feed-forward, and the projections in and out, by path.

    Raises:
        InputError: the motion is a temporal convolution, which has no attention.
    """
    layers = _motion_layers(animated_unet)
    return {path: layer for path, layer in layers if isinstance(layer, nn.Linear)}


def _motion_layers(animated_unet: AnimatedUNet) -> Iterator[tuple[str, nn.Module]]:
    for site, module in animated_unet.motion.items():
        if not isinstance(module, MotionModule):
            raise InputError(
                "MotionLoRA needs motion modules with temporal attention; "
                f"this model's motion is {type(module).__name__}."
            )
        for path, layer in module.named_modules():
            yield f"{site}.{path}", layer


_HOSTS: Mapping[MotionLayers, Callable[[AnimatedUNet], dict[str, nn.Module]]] = {
    "attention": temporal_projections,
    "all": linear_layers,
}


def attach_motion_lora(
    animated_unet: AnimatedUNet,
    *,
    rank: int,
    scale: float = 1.0,
    layers: MotionLayers = "attention",
) -> LowRankSet:
    """Graft new low-rank branches on every temporal attention, or on every linear layer, of a motion.

    Stable Diffusion 1.5 gets 281,600 parameters per unit of rank, 302,080 with the middle block
    (598,400 and 641,920 with all layers); the published MotionLoRAs have rank 64. Keys of the state
    dict are those of ``motion_state_dict`` with ``weight`` replaced by ``down.weight`` and
    ``up.weight``.

    Args:
        animated_unet: the model whose motion is adapted; it may carry other MotionLoRAs.
        rank: inner width of every branch.
        scale: may be changed at any time; scales of several MotionLoRAs add up linearly.
        layers: ``attention``, as in the paper, or ``all``.

    Raises:
        InputError: the model has no temporal attention, or the rank is below 1.
    """
    return LowRankSet(_HOSTS[layers](animated_unet), rank=rank, scale=scale)
