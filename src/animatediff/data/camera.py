"""Synthetic camera moves, which MotionLoRA is trained on, made from any clip (Sec. 4.3).

A zoom is a growing or shrinking crop, a pan or tilt a moving crop, a roll a rotation (Guo et al.,
arXiv 2307.04725). Moves are named after the camera: when it pans right, things move left.
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
from animatediff.options.named_strength import split_strength

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
"""Each move, followed by its opposite."""

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
"""What a caption says about each move."""

ZOOM = (1.3, 1.8)
"""Range of the scale at the end of a zoom relative to its start."""
TRAVEL = (0.15, 0.3)
"""Range of half the distance of a pan or tilt, in widths of the crop."""
TURN = (math.radians(20), math.radians(50))
"""Range of the angle of a roll."""


def parse_pattern(text: str) -> tuple[str, float]:
    """Split ``zoom-in`` or ``zoom-in:0.5`` (half as far) into the move's name and its strength.

    Raises:
        InputError: there is no such move, or the strength is not above 0 and at most 2.
    """
    _must_be_known(text.partition(":")[0])
    return split_strength(text, what="strength of a camera pattern")


def opposite(pattern: str) -> str:
    """Return the opposite move, such as zoom-out for zoom-in, with the same strength.

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
        amount: the factor of a zoom, the distance of a pan or tilt, or the angle of a roll.
        margin: how far the crop may leave the picture, in halves of its side; outside is white.
    """

    pattern: str
    amount: float
    margin: float = 0.0

    def __post_init__(self) -> None:
        _must_be_known(self.pattern)

    @classmethod
    def drawn(cls, pattern: str, generator: torch.Generator, *, margin: float = 0.0) -> CameraMove:
        """Draw a move of a pattern with a random amount in the usual range.

        Args:
            pattern: its name, or ``name:strength`` to move this many times as far.
            generator: source of the amount.
            margin: how far the crop may leave the picture.

        Raises:
            InputError: there is no such pattern or strength.
        """
        name, strength = parse_pattern(pattern)
        kind = name.partition("-")[0]
        low, high = {"zoom": ZOOM, "roll": TURN}.get(kind, TRAVEL)
        amount = low + float(torch.rand((), generator=generator)) * (high - low)
        return cls(name, amount**strength if kind == "zoom" else amount * strength, margin)

    def crop_at(self, time: float) -> Crop:
        """Return the crop at a time from 0 (the first frame) to 1 (the last); the speed is constant."""
        limit = 1 + self.margin
        kind, _, way = self.pattern.partition("-")
        # From -1 to 1, in the pattern's direction.
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
    """The square that the camera sees; the largest centred square of the picture is 1, at 0, 0.

    Attributes:
        scale: its side.
        right: its centre, in halves of the largest square's side.
        down: its centre, in halves of the largest square's side.
        angle: clockwise rotation of the camera, in radians.
    """

    scale: float
    right: float = 0.0
    down: float = 0.0
    angle: float = 0.0

    def matrix(self) -> Float[Tensor, "2 3"]:
        """Map the crop's coordinates, from -1 to 1, to those of the largest square."""
        cos, sin = math.cos(self.angle) * self.scale, math.sin(self.angle) * self.scale
        return torch.tensor([[cos, -sin, self.right], [sin, cos, self.down]])


def filmed(
    frames: UInt8[np.ndarray, "f height width 3"], move: CameraMove, *, size: int
) -> UInt8[np.ndarray, "f size size 3"]:
    """Return the clip as seen by a moving camera."""
    last = max(1, len(frames) - 1)
    return cropped(frames, [move.crop_at(i / last) for i in range(len(frames))], size=size)


def cropped(
    frames: UInt8[np.ndarray, "f height width 3"], crops: list[Crop], *, size: int
) -> UInt8[np.ndarray, "f size size 3"]:
    """Sample each frame's crop at four points per pixel, white outside."""
    height, width = frames.shape[1:3]
    side = min(height, width)
    pixels = rearrange(torch.tensor(frames), "f h w c -> f c h w").float()
    theta = torch.stack([crop.matrix() for crop in crops])
    grid = F.affine_grid(theta, [len(frames), 3, 2 * size, 2 * size], align_corners=False)
    grid = grid * torch.tensor([side / width, side / height])
    seen = F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # A hard edge: no white mixes in at the border of a full crop.
    inside = (grid.abs() <= 1).all(dim=-1)[:, None]
    seen = F.avg_pool2d(torch.where(inside, seen, torch.tensor(255.0)), 2)
    return rearrange(seen.round().clamp(0, 255).byte(), "f c h w -> f h w c").numpy()
