"""A control network's file before its weights are read: what it is, and whose names it has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from animatediff.errors import FileError
from animatediff.model.control.network import ControlNetwork
from animatediff.weights.finding.model_folders import weight_file
from animatediff.weights.inspect import Inspection, inspect_header
from animatediff.weights.inspection.control import REFUSED
from animatediff.weights.inspection.kinds import BASE_TITLES, KINDS, Kind
from animatediff.weights.storage.files import Header, read_header, read_json

CONTROL_KINDS: tuple[Kind, ...] = ("controlnet", "t2i-adapter", "sparse-control")
"""What ``--control`` takes."""


@dataclass(frozen=True)
class ControlFile:
    """A control network's file: its kind and shapes are known, its values not yet read.

    Attributes:
        header: its file's.
        found: what it was recognised as.
        config: the configuration beside it, as diffusers writes it; empty if there is none.
    """

    header: Header
    found: Inspection
    config: Mapping[str, Any]

    def check_base(self, base: str) -> None:
        """Refuse a network for another image model than ``base``, as ``Inspection.base`` names it.

        Raises:
            FileError: it is for another one; an empty text is not known.
        """
        if base and self.found.base and base != self.found.base:
            raise FileError(
                f"{self.path} is {self.found.title}, and the image model is "
                f"{BASE_TITLES.get(base, base)}; use a control network and an image model that "
                "belong together."
            )

    @property
    def path(self) -> Path:
        """The file with the weights."""
        return self.header.path


@dataclass(frozen=True)
class ControlPlan:
    """A control network that was checked against an image model and holds no numbers yet.

    Attributes:
        file: its file.
        load: reads the numbers in a precision, onto a device.
        notes: what its user should know, a sentence each.
    """

    file: ControlFile
    load: Callable[[torch.dtype, torch.device], ControlNetwork]
    notes: tuple[str, ...] = ()


def read_control(path: Path) -> ControlFile:
    """Recognise the file of a control network.

    Args:
        path: a safetensors file, or diffusers' folder.

    Raises:
        FileError: the file is broken, is no control network, or is one that is not supported.
    """
    weights = weight_file(path, part="unet") if path.is_dir() else path
    header = read_header(weights)
    found = inspect_header(header)
    if found.kind not in CONTROL_KINDS:
        raise FileError(
            f"{path} is {found.title}; --control needs a ControlNet, a T2I-Adapter or a SparseCtrl "
            f"model: {KINDS[found.kind].use}."
        )
    if found.version in REFUSED:
        raise FileError(
            f"{path} is {REFUSED[found.version]}, and is not supported; use a ControlNet, a "
            "T2I-Adapter or a SparseCtrl model instead."
        )
    config = weights.parent / "config.json"
    described = read_json(config) if config.is_file() and found.layout == "diffusers" else {}
    return ControlFile(header, found, described)
