"""Short films of a circle and of a square, equal in colour, size, place and motion."""

from __future__ import annotations

import numpy as np

SHAPES = ("circle", "square", "triangle")


def frames(
    shape: str,
    *,
    count: int = 24,
    side: int = 96,
    radius: int = 20,
    ink: tuple[int, int, int] = (220, 30, 30),
    paper: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:
    """The shape moves down, half a pixel a frame."""
    y, x = np.mgrid[:side, :side].astype(float)
    made = np.full((count, side, side, 3), paper, np.uint8)
    for index in range(count):
        across, down = x - side / 2, y - side / 3 - index / 2
        inside = {
            "circle": np.hypot(across, down) <= radius,
            "square": np.maximum(abs(across), abs(down)) <= radius,
            "triangle": (abs(down) <= radius) & (abs(across) <= (down + radius) / 2),
        }[shape]
        made[index][inside] = ink
    return made
