"""What a motion module's file has beside its modules to read a picture: PIA and AnimateLCM-i2v.

PIA (arXiv 2312.13964) has a first convolution of nine channels: the noisy latents, how much a frame
resembles the picture, and the picture's latents. Its part for the latents is the image model's own, so
only the five others are read. AnimateLCM's image-to-video file has an encoder of the picture's latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from animatediff.model.picture_pyramid import PicturePyramid
from animatediff.model.without_values import without_values
from animatediff.weights.names.layouts import unwrapped
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

CONV, ENCODER = "conv_in.", "img_encoder."
_PARTS: Mapping[str, str] = {"pia": CONV, "animatelcm-i2v": ENCODER}
"""Where a family's file has what reads a picture."""


@dataclass(frozen=True)
class PictureFile:
    """What of a motion module's file reads a picture.

    Attributes:
        family: ``pia`` or ``animatelcm-i2v``.
        header: the file's, with only these names.
    """

    family: str
    header: Header


@dataclass(frozen=True)
class PictureInput:
    """What reads a picture, with its numbers.

    Attributes:
        family: ``pia`` or ``animatelcm-i2v``.
        channels: PIA's weights for further input channels, ``width 1+latents 3 3``.
        encoder: AnimateLCM's encoder.
    """

    family: str
    channels: Tensor | None = None
    encoder: PicturePyramid | None = None

    def to(self, device: torch.device) -> PictureInput:
        """The same on another device."""
        channels = None if self.channels is None else self.channels.to(device)
        encoder = None if self.encoder is None else self.encoder.to(device)
        return PictureInput(self.family, channels, encoder)


def picture_file(header: Header, *, family: str) -> PictureFile | None:
    """What of a file reads a picture; nothing unless its family does.

    Args:
        header: of the whole file.
        family: of its motion modules.
    """
    prefix = _PARTS.get(family)
    if prefix is None:
        return None
    shapes = {
        name: shape for name, shape in header.shapes.items() if unwrapped(name).startswith(prefix)
    }
    return PictureFile(family, Header(header.path, shapes, header.metadata))


def check_picture(file: PictureFile, unet: UNet2DConditionModel) -> None:
    """Compare what reads a picture with the U-Net that it is for; nothing is loaded.

    Raises:
        FileError: it is for another image model, or incomplete.
    """
    shapes = {unwrapped(name): shape for name, shape in file.header.shapes.items()}
    named = Header(file.header.path, shapes, file.header.metadata)
    if file.family == "pia":
        width, latents, *kernel = unet.conv_in.weight.shape
        wanted = {f"{CONV}weight": (width, 2 * latents + 1, *kernel), f"{CONV}bias": (width,)}
    else:
        state = _encoder_for(unet).state_dict()
        wanted = {f"{ENCODER}{name}": tuple(tensor.shape) for name, tensor in state.items()}
    check_fit(named, wanted, role=f"the picture input of {file.family} for this model")


def load_picture(
    file: PictureFile, unet: UNet2DConditionModel, *, device: torch.device
) -> PictureInput:
    """Read the numbers, in fp32.

    Raises:
        FileError: the file changed since, or is damaged.
    """
    weights = {
        unwrapped(name): tensor.float()
        for name, tensor in read_weights(file.header, device=device, refuse_nan=True).items()
    }
    if file.family == "pia":
        latents = unet.conv_in.weight.shape[1]
        return PictureInput(file.family, channels=weights[f"{CONV}weight"][:, latents:].clone())
    encoder = _encoder_for(unet)
    own = {name: weights[f"{ENCODER}{name}"] for name in encoder.state_dict()}
    encoder.load_state_dict(own, strict=True, assign=True)
    return PictureInput(file.family, encoder=encoder.requires_grad_(False).eval())


def _encoder_for(unet: UNet2DConditionModel) -> PicturePyramid:
    with without_values():
        return PicturePyramid(
            int(unet.conv_in.weight.shape[1]), widths=tuple(unet.config["block_out_channels"])
        )
