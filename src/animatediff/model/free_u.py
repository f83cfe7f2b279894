"""FreeU: skip features damped and backbone features strengthened where the decoder joins them.

Si et al., arXiv 2309.11497. At the input of each ResNet of the two deepest widths of the decoder, the
low frequencies of the skip features are multiplied by ``s`` (Eq. 5, 6), and the first half of the
backbone's channels by ``b``: as it is (version 1), or in proportion to the mean of the features
(version 2, Eq. 3, 4). The factors depend on the width of the backbone features, as in the authors'
code; diffusers chooses them by the number of the block, which is another set of layers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

if TYPE_CHECKING:
    from diffusers.models.resnet import ResnetBlock2D
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

FreeUVersion = Literal["v1", "v2"]
_HALF_BOX = 1
"""Half the side of the box of frequencies that counts as low."""


@dataclass(frozen=True)
class FreeUFactors:
    """Factors for the widest features of the decoder and for those half as wide.

    Attributes:
        backbone: b1 and b2.
        skip: s1 and s2.
    """

    backbone: tuple[float, float]
    skip: tuple[float, float]


SD15 = FreeUFactors(backbone=(1.5, 1.6), skip=(0.9, 0.2))
SD2 = FreeUFactors(backbone=(1.4, 1.6), skip=(0.9, 0.2))
SDXL = FreeUFactors(backbone=(1.3, 1.4), skip=(0.9, 0.2))
"""The authors' factors."""
_BY_TEXT_WIDTH = {768: SD15, 1024: SD2, 2048: SDXL}


def factors_for(unet: UNet2DConditionModel) -> FreeUFactors:
    """The authors' factors for an image model, told by the width of its text; else those of SD 1.5."""
    return _BY_TEXT_WIDTH.get(unet.config["cross_attention_dim"], SD15)


def decoder_joints(unet: UNet2DConditionModel) -> Iterator[tuple[nn.Module, int]]:
    """Every ResNet of the decoder, and how many channels of its input are backbone features."""
    width = int(unet.config["block_out_channels"][-1])
    for block in unet.up_blocks:
        for resnet in cast("Iterable[ResnetBlock2D]", block.resnets):
            yield resnet, width
            width = resnet.out_channels


class FreeU:
    """FreeU on the decoder of a U-Net, until ``remove``.

    Args:
        unet: its weights stay as they are.
        factors: how much; 1 changes nothing.
        version: how the backbone is strengthened.
    """

    def __init__(
        self, unet: UNet2DConditionModel, factors: FreeUFactors, *, version: FreeUVersion = "v2"
    ) -> None:
        self.version: FreeUVersion = version
        self._handles: list[RemovableHandle] = []
        widths = sorted(set(unet.config["block_out_channels"]), reverse=True)[:2]
        by_width = dict(zip(widths, zip(factors.backbone, factors.skip, strict=True), strict=False))
        for resnet, width in decoder_joints(unet):
            if width in by_width:
                self._attach(resnet, width, *by_width[width])

    def _attach(self, resnet: nn.Module, width: int, backbone: float, skip: float) -> None:
        def change(_layer: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            features, rest = inputs[0][:, :width], inputs[0][:, width:]
            features = strengthened(features, factor=backbone, version=self.version)
            return (torch.cat([features, low_pass_scaled(rest, factor=skip)], dim=1), *inputs[1:])

        self._handles.append(resnet.register_forward_pre_hook(change))

    def remove(self) -> None:
        """Take it off the U-Net; harmless if repeated."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def strengthened(
    features: Float[Tensor, "b c h w"], *, factor: float, version: FreeUVersion
) -> Float[Tensor, "b c h w"]:
    """The first half of the channels times ``factor``, or times up to ``factor`` (Eq. 3, 4)."""
    if factor == 1:
        return features
    half = features.shape[1] // 2
    by: float | Tensor = factor
    if version == "v2":
        mean = features.mean(dim=1, keepdim=True)
        low = mean.amin(dim=(2, 3), keepdim=True)
        high = mean.amax(dim=(2, 3), keepdim=True)
        by = 1 + (factor - 1) * (mean - low) / (high - low).clamp_min(1e-8)
    return torch.cat([features[:, :half] * by, features[:, half:]], dim=1)


def low_pass_scaled(
    features: Float[Tensor, "b c h w"], *, factor: float
) -> Float[Tensor, "b c h w"]:
    """The low frequencies of each plane times ``factor`` (Eq. 5, 6), computed in fp32."""
    if factor == 1:
        return features
    height, width = features.shape[-2:]
    spectrum = torch.fft.fftshift(torch.fft.fft2(features.float()), dim=(-2, -1))
    rows = slice(height // 2 - _HALF_BOX, height // 2 + _HALF_BOX)
    columns = slice(width // 2 - _HALF_BOX, width // 2 + _HALF_BOX)
    spectrum[..., rows, columns] *= factor
    back = torch.fft.ifft2(torch.fft.ifftshift(spectrum, dim=(-2, -1))).real
    return back.to(features.dtype)
