"""Scope of the image model's GroupNorms, one frame or a whole clip, by checkpoint family.

The first motion modules, and Hotshot-XL, were trained while the ResNets of the image model took
their statistics over all frames of a clip; later ones per frame, as in an image model. Two hooks on
each layer implement it: they show the layer a clip as one tall image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from einops import rearrange
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from animatediff.model.clip import Clip

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def resnet_norms(unet: UNet2DConditionModel) -> Iterator[nn.GroupNorm]:
    """Yield both norms of every ResNet, and the one before the last convolution."""
    from diffusers.models.resnet import ResnetBlock2D

    for layer in unet.modules():
        if isinstance(layer, ResnetBlock2D):
            yield layer.norm1
            yield layer.norm2
    if unet.conv_norm_out is not None:
        yield unet.conv_norm_out


class NormsOverFrames:
    """GroupNorms whose statistics cover all frames of a clip, until ``remove``."""

    def __init__(self, norms: Iterable[nn.GroupNorm], *, clip: Clip) -> None:
        self.clip = clip
        self._handles: list[RemovableHandle] = []
        for norm in norms:
            self._handles.append(norm.register_forward_pre_hook(self._join_frames))
            self._handles.append(norm.register_forward_hook(self._part_frames))

    def __len__(self) -> int:
        return len(self._handles) // 2

    def remove(self) -> None:
        """Restore statistics per image; may be called again."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _join_frames(self, norm: nn.Module, inputs: tuple[Tensor]) -> Tensor:
        return rearrange(inputs[0], "(b f) c h w -> b c (f h) w", f=self.clip.num_frames)

    def _part_frames(self, norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        return rearrange(output, "b c (f h) w -> (b f) c h w", f=self.clip.num_frames)


def normalise_over_frames(unet: UNet2DConditionModel, *, clip: Clip) -> NormsOverFrames:
    """Let the ResNets of ``unet`` take their statistics over the clip (version 1, Hotshot-XL)."""
    return NormsOverFrames(resnet_norms(unet), clip=clip)
