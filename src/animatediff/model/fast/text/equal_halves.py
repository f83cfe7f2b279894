"""Layers before the first text, computed once for both halves of classifier-free guidance.

The predictions with and without the prompt begin with the same latents at the same timestep, in one
batch. Up to the first attention to a text, both halves of every activation are equal, so half the work
is enough. Which tensors have equal halves is remembered by identity: a tensor that anything else has
touched is another object, and is computed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.model.clip import Clip
from animatediff.model.fast.replaced import Replaced

if TYPE_CHECKING:
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


class EqualHalves:
    """Remembers the last tensor with equal halves.

    Args:
        clip: gives the number of frames; a half holds whole clips.
    """

    def __init__(self, clip: Clip) -> None:
        self.clip = clip
        self._known: Tensor | None = None

    def half_of(self, maps: Tensor) -> Tensor | None:
        """The first half of a tensor that is known to have equal halves."""
        return maps[: len(maps) // 2] if maps is self._known else None

    def found_in(self, maps: Tensor) -> Tensor | None:
        """The first half of a tensor whose halves are equal, found by comparing them."""
        rows = len(maps) // 2
        if len(maps) % 2 or rows == 0 or rows % self.clip.num_frames:
            return None
        return maps[:rows] if torch.equal(maps[:rows], maps[rows:]) else None

    def doubled(self, half: Tensor) -> Tensor:
        """Both halves again; the result is remembered."""
        self._known = torch.cat([half, half])
        return self._known

    def forget(self) -> None:
        """Remember nothing, and let the tensor's memory go."""
        self._known = None


def share_first_layers(unet: UNet2DConditionModel, halves: EqualHalves) -> Replaced:
    """Let the first convolution and the first ResNets compute equal halves once, until removed."""
    from diffusers.models.resnet import ResnetBlock2D

    replaced = Replaced()
    replaced.put(unet.conv_in, partial(_first, unet.conv_in.forward, halves))
    for layer in unet.down_blocks[0].modules():
        if isinstance(layer, ResnetBlock2D):
            replaced.put(layer, partial(_resnet, layer, halves))
    return replaced


def _first(
    forward: Callable[[Tensor], Tensor],
    halves: EqualHalves,
    latents: Float[Tensor, "bf c h w"],
) -> Float[Tensor, "bf d h w"]:
    halves.forget()
    half = None if torch.is_grad_enabled() else halves.found_in(latents)
    return forward(latents) if half is None else halves.doubled(forward(half))


def _resnet(
    layer: ResnetBlock2D,
    halves: EqualHalves,
    maps: Float[Tensor, "bf c h w"],
    time: Any = None,
) -> Float[Tensor, "bf d h w"]:
    from diffusers.models.resnet import ResnetBlock2D

    half, times = halves.half_of(maps), time
    if half is not None and isinstance(time, Tensor):
        times = halves.found_in(time)
    plain: Any = ResnetBlock2D.forward
    if half is None or (times is None and time is not None):
        halves.forget()
        return plain(layer, maps, time)
    return halves.doubled(plain(layer, half, times))
