"""Interface of loaders: add files to a model in three steps; all are checked before reading."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.roles import Role

File = TypeVar("File")
Fitted = TypeVar("Fitted")
Added = TypeVar("Added")


@dataclass(frozen=True)
class Host:
    """The model that files are added to, before its values are read.

    Attributes:
        animated: the U-Net with its motion modules.
        networks: the image model's networks by part: ``unet``, ``text_encoder``, ...
        has_motion: whether there is a motion module at all.
    """

    animated: AnimatedUNet
    networks: Mapping[str, nn.Module]
    has_motion: bool


class Loader(Protocol[File, Fitted, Added]):
    """Loads all files of one role."""

    def read(self, path: Path) -> File:
        """Read a file's header.

        Raises:
            FileError: it is broken, or of another kind.
        """
        ...

    def fit(self, files: Sequence[File], host: Host) -> Sequence[Fitted]:
        """Check files against the model and graft them without values.

        Raises:
            FileError: one is for another model.
        """
        ...

    def fill(
        self, fitted: Sequence[Fitted], base: BaseModel, *, dtype: torch.dtype, device: torch.device
    ) -> Sequence[Added]:
        """Read the values, in a precision and onto a device.

        Raises:
            FileError: a file has changed, or is damaged.
        """
        ...

    def move(self, added: Added, device: torch.device) -> None:
        """Move the loaded values that are outside of the model's networks to another device."""
        ...

    def notes(self, added: Added) -> Sequence[str]:
        """Sentences for the user about one file."""
        ...


def loader_of(role: Role) -> Loader[Any, Any, Any]:
    """Import and return the loader of a role's files."""
    module, _, name = role.loader.partition(":")
    return getattr(importlib.import_module(module), name)()
