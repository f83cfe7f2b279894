"""Stills and frames of the built-in world as arrays in memory, chosen by split and style."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from animatediff.data.shards import read_shards


@dataclass(frozen=True)
class Stills:
    """Pictures and their facts, in a fixed order."""

    rgba: UInt8[np.ndarray, "stills size size 4"]
    meta: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.meta)


def read_stills(
    folder: Path, *, split: str = "train", styles: frozenset[str] | None = None
) -> Stills:
    """Read the stills of one split, of the named styles or of all styles that are not held out."""
    pictures: list[UInt8[np.ndarray, "size size 4"]] = []
    meta: list[dict[str, Any]] = []
    for sample in read_shards(folder):
        wanted = (
            not sample.meta["held_out_style"] if styles is None else sample.meta["style"] in styles
        )
        if sample.meta["split"] == split and wanted:
            pictures.append(sample.image)
            meta.append(sample.meta)
    return Stills(np.stack(pictures), meta)


def to_model_range(
    rgba: UInt8[np.ndarray, "batch height width 4"],
    background: Float[Tensor, "batch 3"] | float = 1.0,
) -> Float[Tensor, "batch 3 height width"]:
    """Composite on a background (in [-1, 1]) and map to the autoencoder's range [-1, 1]."""
    pixels = rearrange(torch.from_numpy(np.ascontiguousarray(rgba)), "b h w c -> b c h w").float()
    colour, alpha = pixels[:, :3] / 127.5 - 1, pixels[:, 3:] / 255
    if isinstance(background, Tensor):
        background = rearrange(background, "b c -> b c 1 1")
    return colour * alpha + background * (1 - alpha)


def rows(array: UInt8[np.ndarray, "stills ..."], indices: Int[Tensor, " batch"]) -> np.ndarray:
    """Return chosen rows of an array that is stored as bytes."""
    return array[indices.numpy()]
