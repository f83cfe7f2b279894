"""Augmentations of the stills, which make the scorer robust to a generator's inaccuracies.

A generated emoji is never exactly at the drawing's place, nor as sharp. Views are a function of the
still's key and the view's number; the generator is not involved.
"""

from __future__ import annotations

import io
import math

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from animatediff.data.mirroring import may_mirror
from animatediff.runtime import seeded

_SYMBOLS_GROUP = 8


def may_flip(label: str, *, group: int) -> bool:
    """Whether a mirrored picture keeps its label: not arrows, clocks, letters and signs."""
    return group != _SYMBOLS_GROUP and may_mirror(label)


def view_of(
    picture: Float[Tensor, "3 h w"], *, key: str, view: int, flip: bool
) -> Float[Tensor, "3 h w"]:
    """Return a view: 0 is the still; others are moved, rotated, blurred, tinted and roughened.

    Args:
        picture: the still in [0, 1] on white.
        key: the still's name; with ``view``, the seed of the augmentation.
        view: number of the view.
        flip: whether odd views are mirrored.
    """
    if view == 0:
        return picture
    generator = seeded("scorer-view", key, view)
    moved = _moved(picture, generator, mirror=flip and view % 2 == 1)
    blurred = _blurred(moved, sigma=1.3 * _uniform(generator, 0, 1))
    gain = 1 + 0.1 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2) * _uniform(
        generator, 0, 1
    )
    # Tints act on the ink, so that white stays white.
    inked = 1 - (1 - blurred) * gain
    noise = torch.randn(picture.shape, generator=generator) * 0.03 * _uniform(generator, 0, 1)
    return (inked + noise).clamp(0, 1)


def style_view(picture: Float[Tensor, "3 h w"], *, key: str, view: int) -> Float[Tensor, "3 h w"]:
    """Return a view for the style head: 0 is the still; odd ones are roughened, even ones softened."""
    if view == 0:
        return picture
    alter = roughened if view % 2 else softened
    return alter(picture, key=key, view=view)


def roughened(picture: Float[Tensor, "3 h w"], *, key: str, view: int) -> Float[Tensor, "3 h w"]:
    """Blur and tint slightly, and add noise.

    Styles differ less than concepts: a tint of 10 % turns one set's yellow into another's.
    """
    generator = seeded("scorer-rough", key, view)
    blurred = _blurred(picture, sigma=_uniform(generator, 0, 1))
    gain = 1 + 0.02 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2)
    noise = torch.randn(picture.shape, generator=generator) * 0.03 * _uniform(generator, 0, 1)
    return (1 - (1 - blurred) * gain + noise).clamp(0, 1)


def softened(picture: Float[Tensor, "3 h w"], *, key: str, view: int) -> Float[Tensor, "3 h w"]:
    """Remove the finest detail and keep edges, as lossy compression does.

    The picture is resized down and up, smoothed by a median filter, and stored as a JPEG, each with
    random strength.
    """
    generator = seeded("scorer-soft", key, view)
    size = round(picture.shape[-1] / _uniform(generator, 1.0, 2.2))
    small = F.interpolate(picture[None], size=(size, size), mode="area")
    large = F.interpolate(small, size=picture.shape[1:], mode="bicubic", align_corners=False)[0]
    smooth = _median(large) if _uniform(generator, 0, 1) < 0.7 else large
    mixed = torch.lerp(large, smooth, _uniform(generator, 0.3, 1.0))
    gain = 1 + 0.015 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2)
    tinted = (1 - (1 - mixed) * gain).clamp(0, 1)
    return _as_jpeg(tinted, quality=round(_uniform(generator, 25, 90)))


def _median(picture: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    padded = F.pad(picture[None], (1, 1, 1, 1), mode="replicate")[0]
    shifted = [
        padded[:, y : y + picture.shape[1], x : x + picture.shape[2]]
        for y in range(3)
        for x in range(3)
    ]
    return torch.stack(shifted).median(0).values


def _as_jpeg(picture: Float[Tensor, "3 h w"], *, quality: int) -> Float[Tensor, "3 h w"]:
    pixels = (rearrange(picture, "c h w -> h w c") * 255).round().byte().numpy()
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "JPEG", quality=quality)
        decoded = np.asarray(Image.open(file))
    return rearrange(torch.from_numpy(decoded.copy()), "h w c -> c h w").float() / 255


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _moved(
    picture: Float[Tensor, "3 h w"], generator: torch.Generator, *, mirror: bool
) -> Float[Tensor, "3 h w"]:
    angle = math.radians(_uniform(generator, -8, 8))
    scale = _uniform(generator, 0.9, 1.25)
    cos, sin = math.cos(angle) * scale, math.sin(angle) * scale
    sign = -1.0 if mirror else 1.0
    x, y = _uniform(generator, -0.1, 0.1), _uniform(generator, -0.1, 0.1)
    matrix = torch.tensor([[[sign * cos, -sin, x], [sign * sin, cos, y]]])
    ink = rearrange(1 - picture, "c h w -> 1 c h w")
    grid = F.affine_grid(matrix, list(ink.shape), align_corners=False)
    # Outside the picture there is no ink, hence white.
    return 1 - F.grid_sample(ink, grid, padding_mode="zeros", align_corners=False)[0]


def _blurred(picture: Float[Tensor, "3 h w"], *, sigma: float) -> Float[Tensor, "3 h w"]:
    offsets = torch.arange(-4.0, 5.0)
    weights = torch.exp(-(offsets**2) / (2 * max(sigma, 1e-2) ** 2))
    weights = weights / weights.sum()
    padded = F.pad(rearrange(picture, "c h w -> c 1 h w"), (4, 4, 4, 4), mode="replicate")
    across = F.conv2d(padded, weights.view(1, 1, 1, 9))
    return rearrange(F.conv2d(across, weights.view(1, 1, 9, 1)), "c 1 h w -> c h w")
