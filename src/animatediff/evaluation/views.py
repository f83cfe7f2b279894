"""Varied views of the stills, from which the scorer learns to forgive what a generator does.

A generated emoji is never quite where the drawing is, nor as sharp. Views are a function of the
still's key and the view's number alone; the generator itself takes no part in them.
"""

from __future__ import annotations

import math
import re

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.runtime import seeded

_DIRECTED = re.compile(
    r"\b(left|right|clock|o’clock|thirty|clockwise|counterclockwise|arrow|west|east)\b"
)
_SYMBOLS_GROUP = 8


def may_flip(label: str, *, group: int) -> bool:
    """Whether a mirrored picture still shows its label: not arrows, clocks, letters and signs."""
    return group != _SYMBOLS_GROUP and _DIRECTED.search(label) is None


def view_of(
    picture: Float[Tensor, "3 h w"], *, key: str, view: int, flip: bool
) -> Float[Tensor, "3 h w"]:
    """View 0 is the still itself; every later one moves, turns, blurs, tints and roughens it.

    Args:
        picture: the still in [0, 1] on white.
        key: the still's name, which with ``view`` decides everything drawn at random.
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


def roughened(picture: Float[Tensor, "3 h w"], *, key: str, view: int) -> Float[Tensor, "3 h w"]:
    """View 0 is the still itself; every later one is a little blurred, tinted and noisy.

    What tells styles apart is smaller than what tells concepts apart: a tint of 10 % turns one
    set's yellow into another's.
    """
    if view == 0:
        return picture
    generator = seeded("scorer-rough", key, view)
    blurred = _blurred(picture, sigma=_uniform(generator, 0, 1))
    gain = 1 + 0.02 * torch.randn(3, 1, 1, generator=generator).clamp(-2, 2)
    noise = torch.randn(picture.shape, generator=generator) * 0.03 * _uniform(generator, 0, 1)
    return (1 - (1 - blurred) * gain + noise).clamp(0, 1)


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
