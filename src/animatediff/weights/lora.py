"""Image LoRAs from files: low-rank branches on the layers that a file names, checked, then grafted.

Keys are ``{path}.down.weight`` and ``{path}.up.weight``, the dotted path being the U-Net's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from animatediff.errors import FileError, InputError
from animatediff.model.low_rank import LowRankSet, attach_low_rank
from animatediff.weights.files import Header, check_fit, read_header, read_weights

_DOWN, _UP = ".down.weight", ".up.weight"


@dataclass(frozen=True)
class LoraFile:
    """A LoRA of which everything but the numbers is known.

    Attributes:
        header: its file's.
        rank: inner width of every branch.
        alpha: the branches are multiplied by ``alpha / rank``.
    """

    header: Header
    rank: int
    alpha: float

    @property
    def hosts(self) -> list[str]:
        """The layers it is for, by dotted path."""
        return [name.removesuffix(_DOWN) for name in self.header.shapes if name.endswith(_DOWN)]


def read_lora(path: Path) -> LoraFile:
    """What a LoRA's file says of itself; without an alpha its branches count once.

    Raises:
        FileError: the file is broken, or is no LoRA in our layout.
    """
    header = read_header(path)
    ranks = {shape[0] for name, shape in header.shapes.items() if name.endswith(_DOWN) and shape}
    strangers = [name for name in header.shapes if not name.endswith((_DOWN, _UP))]
    if strangers or not ranks:
        raise FileError(
            f"{path} is not a LoRA that can be used: its names must end in {_DOWN} and {_UP}."
        )
    if len(ranks) > 1 or 0 in ranks:
        raise FileError(f"{path} mixes the ranks {sorted(ranks)}; one rank for all is needed.")
    rank = ranks.pop()
    return LoraFile(header, rank, _alpha(header, rank=rank))


def _alpha(header: Header, *, rank: int) -> float:
    text = header.metadata.get("alpha", str(rank))
    try:
        alpha = float(text)
    except ValueError:
        alpha = math.nan
    if not math.isfinite(alpha):
        raise FileError(f"{header.path} says alpha = {text!r:.60}, which is not a number.")
    return alpha


def graft_lora(unet: UNet2DConditionModel, lora: LoraFile, *, scale: float) -> LowRankSet:
    """Graft the places for a LoRA into a U-Net, both still without numbers.

    Raises:
        FileError: the LoRA was made for another U-Net.
    """
    layers = dict(unet.named_modules())
    absent = [path for path in lora.hosts if path not in layers]
    if absent:
        raise FileError(
            f"{lora.header.path} is not a LoRA for this model, which has no {absent[0]:.100}."
        )
    hosts: dict[str, nn.Module] = {path: layers[path] for path in lora.hosts}
    try:
        branches = attach_low_rank(hosts, rank=lora.rank, alpha=lora.alpha, scale=scale)
    except InputError as error:
        raise FileError(f"{lora.header.path} is not a LoRA for this model: {error}") from None
    wanted = {name: tuple(t.shape) for name, t in branches.state_dict().items()}
    check_fit(lora.header, wanted, role="a LoRA for this model")
    return branches


def fill_lora(
    branches: LowRankSet, lora: LoraFile, *, dtype: torch.dtype, device: torch.device
) -> None:
    """Read a LoRA's numbers into the places that ``graft_lora`` made.

    Raises:
        FileError: the file changed since, or holds numbers that are not finite.
    """
    weights = read_weights(lora.header, dtype=dtype, device=device, refuse_nan=True)
    branches.load_state_dict(weights, strict=True, assign=True)
    branches.requires_grad_(False).eval()
