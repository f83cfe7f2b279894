"""The plain ground behind a thing: its colour, and which pixels are the thing."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

PLAIN = 0.7
"""Share of the border that must have one colour; things may touch the rest of it."""
NEAR, FAR = 16, 32
"""Differences from the ground's colour, of 255: up to the first ground, from the second on a thing."""

Picture = UInt8[np.ndarray, "h w 3"]
Colour = Float[np.ndarray, "3"]


def ground_of(picture: Picture) -> Colour | None:
    """Return the colour around a thing; ``None`` if the border has no one colour."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ground = np.median(border, axis=0)
    plain = (np.abs(border - ground).max(axis=1) <= NEAR).mean() >= PLAIN
    return ground if plain else None


def thing_on(picture: Picture, ground: Colour) -> Bool[np.ndarray, "h w"]:
    """Return the pixels that differ from the ground."""
    return np.abs(picture - ground).max(axis=2) >= FAR
