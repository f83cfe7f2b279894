"""Masks of an animation: where something counts, in each frame."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.control.hints import as_unit, read_hints
from animatediff.sampling.regions.areas import area_of
from animatediff.sampling.settled import Settled


def read_mask(text: str, settled: Settled, *, soft: float = 0.0) -> Float[Tensor, "f h w"]:
    """A mask in [0, 1] for every frame, at the size of the animation in pixels.

    Args:
        text: an area, or a picture, a folder of pictures or a video; white is where it counts.
        settled: the request.
        soft: the width of soft edges, as a share of the shorter side.

    Raises:
        FileError: the file cannot be read.
        InputError: the area cannot be one.
    """
    area = area_of(text)
    path = Path(text).expanduser()
    mask = _of_file(path, settled) if area is None else _of_area(area, settled)
    return softened(mask, sigma=soft * min(settled.width, settled.height) / 2)


def softened(mask: Float[Tensor, "f h w"], *, sigma: float) -> Float[Tensor, "f h w"]:
    """A mask with its edges blurred by a Gaussian; outside of the frame it goes on as at the border."""
    if sigma <= 0:
        return mask
    reach = max(1, round(3 * sigma))
    at = torch.arange(-reach, reach + 1, dtype=torch.float32)
    kernel = torch.exp(-(at**2) / (2 * sigma**2))
    kernel = kernel / kernel.sum()
    planes = rearrange(mask, "f h w -> f 1 h w")
    planes = F.pad(planes, (reach, reach, reach, reach), mode="replicate")
    planes = F.conv2d(planes, kernel[None, None, None, :])
    planes = F.conv2d(planes, kernel[None, None, :, None])
    return rearrange(planes, "f 1 h w -> f h w").clamp(0, 1)


def at_size(
    mask: Float[Tensor, "f h w"], *, height: int, width: int
) -> Float[Tensor, "f height width"]:
    """A mask at a smaller size; each value is the mean of what it stands for."""
    return F.adaptive_avg_pool2d(mask[:, None], (height, width))[:, 0]


def _of_area(area: tuple[float, float, float, float], settled: Settled) -> Float[Tensor, "f h w"]:
    width, height = settled.width, settled.height
    mask = torch.zeros(settled.num_frames, height, width)
    left, right = round(area[0] * width), round(area[2] * width)
    top, bottom = round(area[1] * height), round(area[3] * height)
    mask[:, top:bottom, left:right] = 1
    return mask


def _of_file(path: Path, settled: Settled) -> Float[Tensor, "f h w"]:
    hints = read_hints(
        path,
        num_frames=settled.num_frames,
        width=settled.width,
        height=settled.height,
        fit=settled.request.control_fit,
        missing="nearest",
    )
    return as_unit(hints.frames).mean(dim=1)[torch.tensor(hints.rows)]
