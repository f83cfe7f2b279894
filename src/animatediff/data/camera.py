"""Camera moves by rule: what MotionLoRA learns from, made of any clip (Sec. 4.3).

A zoom is a growing or shrinking crop, a pan or tilt a moving crop, a roll a rotation (Guo et al.,
arXiv 2307.04725). Moves are named by what the camera does: while it pans right, things move left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from animatediff.errors import InputError

PATTERNS = (
    "zoom-in",
    "zoom-out",
    "pan-left",
    "pan-right",
    "tilt-up",
    "tilt-down",
    "roll-clockwise",
    "roll-anticlockwise",
)
"""Each move and then the one that goes back."""

WORDS = {
    "zoom-in": "camera zooming in",
    "zoom-out": "camera zooming out",
    "pan-left": "camera panning left",
    "pan-right": "camera panning right",
    "tilt-up": "camera tilting up",
    "tilt-down": "camera tilting down",
    "roll-clockwise": "camera rolling clockwise",
    "roll-anticlockwise": "camera rolling anticlockwise",
}
"""What a caption says of each move."""

ZOOM = (1.3, 1.8)
"""How much larger things are at the end of a zoom than at its start."""
TRAVEL = (0.15, 0.3)
"""Half of how far a pan or tilt goes, in widths of the crop."""
TURN = (math.radians(20), math.radians(50))
"""How far a roll turns."""
STRONGEST = 2.0
"""A move that goes further hardly sees the picture any more."""


def parse_pattern(text: str) -> tuple[str, float]:
    """``zoom-in``, or ``zoom-in:0.5`` for half as far, as the move's name and its strength.

    Raises:
        InputError: there is no such move, or the strength is not above 0 and at most 2.
    """
    name, colon, number = text.partition(":")
    _must_be_known(name)
    try:
        strength = float(number) if colon else 1.0
    except ValueError:
        strength = math.nan
    if not 0 < strength <= STRONGEST:
        raise InputError(
            f"A camera pattern goes {number[:40]!r} times as far as usual; give a number above 0 and "
            f"at most {STRONGEST:g}, such as {name}:0.5."
        )
    return name, strength


def opposite(pattern: str) -> str:
    """The move that goes back: zoom-out of zoom-in; a strength stays as it is.

    Raises:
        InputError: there is no such move.
    """
    name, colon, strength = pattern.partition(":")
    _must_be_known(name)
    place = PATTERNS.index(name)
    return PATTERNS[place ^ 1] + colon + strength


def _must_be_known(name: str) -> None:
    if name not in PATTERNS:
        raise InputError(
            f"There is no camera pattern {name!r:.60}; choose one of {', '.join(PATTERNS)}."
        )


@dataclass(frozen=True)
class CameraMove:
    """One camera move over a clip.

    Attributes:
        pattern: one of ``PATTERNS``.
        amount: the factor of a zoom, the travel of a pan or tilt, or the angle of a roll.
        margin: how far the crop may leave the picture, in halves of its side; it sees white there.
    """

    pattern: str
    amount: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        _must_be_known(self.pattern)

    @classmethod
    def drawn(cls, pattern: str, generator: torch.Generator, *, margin: float = 0.0) -> CameraMove:
        """A move of that pattern whose amount is drawn from the usual range.

        Args:
            pattern: its name, or ``name:strength`` to go so many times as far.
            generator: draws the amount.
            margin: how far the crop may leave the picture.

        Raises:
            InputError: there is no such pattern, or no such strength.
        """
        name, strength = parse_pattern(pattern)
        kind = name.partition("-")[0]
        low, high = {"zoom": ZOOM, "roll": TURN}.get(kind, TRAVEL)
        amount = low + float(torch.rand((), generator=generator)) * (high - low)
        return cls(name, amount**strength if kind == "zoom" else amount * strength, margin)

    def crop_at(self, time: float) -> Crop:
        """The crop at a time from 0 (the first frame) to 1 (the last); it moves evenly."""
        limit = 1 + self.margin
        kind, _, way = self.pattern.partition("-")
        # From -1 to 1, the way the pattern goes.
        along = (2 * time - 1) * (1 if way in ("in", "right", "down", "clockwise") else -1)
        if kind == "zoom":
            largest = min(limit, math.sqrt(self.amount))
            return Crop(largest * self.amount ** (-(along + 1) / 2))
        if kind == "roll":
            widest = abs(math.cos(self.amount / 2)) + abs(math.sin(self.amount / 2))
            return Crop(min(1.0, limit / widest), angle=along * self.amount / 2)
        scale = min(1.0, limit / (1 + self.amount * 2))
        shift = along * self.amount * 2 * scale
        return Crop(scale, right=shift) if kind == "pan" else Crop(scale, down=shift)


@dataclass(frozen=True)
class Crop:
    """A square seen by the camera; the largest square in the middle of the picture is 1, at 0, 0.

    Attributes:
        scale: its side.
        right: its centre, in halves of the largest square's side.
        down: the same.
        angle: how far the camera is turned clockwise, in radians.
    """

    scale: float
    right: float = 0.0
    down: float = 0.0
    angle: float = 0.0

    def matrix(self) -> Float[Tensor, "2 3"]:
        """From the crop's own coordinates, each from -1 to 1, to those of the largest square."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return torch.tensor([[cos, -sin, self.right], [sin, cos, self.down]])


def filmed(
    frames: UInt8[np.ndarray, "f height width 3"], move: CameraMove, *, size: int
) -> UInt8[np.ndarray, "f size size 3"]:
    """The clip as a moving camera sees it."""
    last = max(1, len(frames) - 1)
    return cropped(frames, [move.crop_at(i / last) for i in range(len(frames))], size=size)


def cropped(
    frames: UInt8[np.ndarray, "f height width 3"], crops: list[Crop], *, size: int
) -> UInt8[np.ndarray, "f size size 3"]:
    """Each frame's crop, at four samples for each pixel, white outside."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    pixels = rearrange(torch.tensor(frames), "f h w c -> f c h w").float()
    theta = torch.stack([crop.matrix() for crop in crops])
    grid = F.affine_grid(theta, [len(frames), 3, 2 * size, 2 * size], align_corners=False)
    grid = grid * torch.tensor([side / width, side / height])
    seen = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # A hard edge: at the border of a crop of everything, nothing of the white mixes in.
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    seen = F.avg_pool2d(torch.where(inside, seen, torch.tensor(255.0)), 2)
    return rearrange(seen.round().clamp(0, 255).byte(), "f c h w -> f h w c").numpy()
