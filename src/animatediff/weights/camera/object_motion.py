"""MotionCtrl's object module: the encoder that reads paths of objects (arXiv 2312.03641, Sec. 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from animatediff.model.picture_pyramid import PicturePyramid
from animatediff.model.without_values import without_values
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import Header, read_header, read_weights

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

SQUARE = 8
CHANNELS = 2 * SQUARE**2
"""Movement to the right and down, of each of 8 x 8 pixels."""
_WRAPPERS = ("omcm_state_dict.", "module.")


@dataclass(frozen=True)
class ObjectMotionFile:
    """An object module's file, before its values are read.

    Attributes:
        header: of the file.
        names: our name of each of its tensors.
    """

    header: Header
    names: Mapping[str, str]


@dataclass(frozen=True)
class LoadedObjectMotion:
    """An object module with its values.

    Attributes:
        file: what it was read from.
        encoder: from movement to features of each down block.
    """

    file: ObjectMotionFile
    encoder: PicturePyramid


def read_object_motion(path: Path) -> ObjectMotionFile:
    """What an object module's file is.

    Raises:
        FileError: the file is broken, or holds something else.
    """
    header = read_header(path)
    check_kind(inspect_header(header), "object-motion")
    names: dict[str, str] = {}
    for name in header.shapes:
        plain = name
        for wrapper in _WRAPPERS:
            plain = plain.removeprefix(wrapper)
        names[name] = plain
    return ObjectMotionFile(header, names)


def check_object_motion(file: ObjectMotionFile, unet: UNet2DConditionModel) -> None:
    """Compare a file with the U-Net that it is for; nothing is loaded.

    Raises:
        FileError: it is for another model, or incomplete.
    """
    shapes = {file.names[name]: shape for name, shape in file.header.shapes.items()}
    named = Header(file.header.path, shapes, file.header.metadata)
    wanted = {name: tuple(tensor.shape) for name, tensor in _encoder(unet).state_dict().items()}
    check_fit(named, wanted, role="object motion for this model")


def load_object_motion(
    file: ObjectMotionFile, unet: UNet2DConditionModel, *, device: torch.device
) -> LoadedObjectMotion:
    """Read the values, in fp32.

    Raises:
        FileError: the file changed since, or is damaged.
    """
    weights = {
        file.names[name]: tensor.float()
        for name, tensor in read_weights(file.header, device=device, refuse_nan=True).items()
    }
    encoder = _encoder(unet)
    known = {name: weights[name] for name in encoder.state_dict()}
    encoder.load_state_dict(known, strict=True, assign=True)
    return LoadedObjectMotion(file, encoder.requires_grad_(False).eval())


def _encoder(unet: UNet2DConditionModel) -> PicturePyramid:
    with without_values():
        return PicturePyramid(CHANNELS, widths=tuple(unet.config["block_out_channels"]))
