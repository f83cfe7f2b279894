"""How a file is added to a model in three steps, so that nothing large is read before all files fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from torch import nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.weights.image_model.base_model import BaseModel

File = TypeVar("File")
Fitted = TypeVar("Fitted")
Added = TypeVar("Added")


@dataclass(frozen=True)
class Host:
    """The model that files are added to, as it is before any number is read.

    Attributes:
        animated: the U-Net with its motion modules.
        networks: the image model's networks by part: ``unet``, ``text_encoder``, ...
        has_motion: whether there is a motion module at all.
    """

    animated: AnimatedUNet
    networks: Mapping[str, nn.Module]
    has_motion: bool


class Loader(Protocol[File, Fitted, Added]):
    """How the files of one role are read, all files of the role together."""

    def read(self, path: Path) -> File:
        """What a file says of itself, from its header alone.

        Raises:
            FileError: it is broken, or of another kind.
        """
        ...

    def fit(self, files: Sequence[File], host: Host) -> Sequence[Fitted]:
        """Check files against the model and make room for them, without numbers.

        Raises:
            FileError: one is for another model.
        """
        ...

    def fill(
        self, fitted: Sequence[Fitted], base: BaseModel, *, dtype: torch.dtype, device: torch.device
    ) -> Sequence[Added]:
        """Read the numbers, in a precision and onto a device.

        Raises:
            FileError: a file changed since, or is damaged.
        """
        ...

    def move(self, added: Added, device: torch.device) -> None:
        """Move what is not part of the model's own networks to another device."""
        ...

    def notes(self, added: Added) -> Sequence[str]:
        """What the user should know about one file, a sentence each."""
        ...
