"""Motion words for captions, measured from a clip's silhouette."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8


@dataclass(frozen=True)
class Motion:
    """A clip's motion: a phrase for its caption, and the mean change per frame in [0, 1]."""

    phrase: str
    amount: float


@dataclass(frozen=True)
class Silhouette:
    """Moments of the alpha channel over time: centre in px, size in px, angle in radians."""

    x: Float[np.ndarray, " frames"]
    y: Float[np.ndarray, " frames"]
    size: Float[np.ndarray, " frames"]
    angle: Float[np.ndarray, " frames"]
    elongation: float


def silhouette_of(frames: UInt8[np.ndarray, "frames height width 4"]) -> Silhouette:
    """Return the moments of each frame's alpha."""
    alpha = frames[..., 3].astype(np.float64) / 255
    _, height, width = alpha.shape
    mass = alpha.sum((1, 2)) + 1e-9
    columns, rows = np.arange(width), np.arange(height)
    x = (alpha.sum(1) * columns).sum(1) / mass
    y = (alpha.sum(2) * rows).sum(1) / mass
    dx = columns[None] - x[:, None]
    dy = rows[None] - y[:, None]
    xx = (alpha.sum(1) * dx**2).sum(1) / mass
    yy = (alpha.sum(2) * dy**2).sum(1) / mass
    xy = np.einsum("fhw,fh,fw->f", alpha, dy, dx) / mass
    # Twice the angle of the principal axis, unwrapped, so that a turn past 90 degrees does not jump.
    angle = np.unwrap(np.arctan2(2 * xy, xx - yy)) / 2
    elongation = float(np.mean(np.hypot(2 * xy, xx - yy) / (xx + yy + 1e-9)))
    return Silhouette(x, y, np.sqrt(mass), angle, elongation)


def motion_of(frames: UInt8[np.ndarray, "frames height width 4"]) -> Motion:
    """Name the strongest of five motions of a clip, in units of their thresholds."""
    outline = silhouette_of(frames)
    side = frames.shape[1]
    strengths = {
        "swaying from side to side": np.ptp(outline.x) / (0.045 * side),
        "bouncing up and down": np.ptp(outline.y) / (0.045 * side),
        "growing and shrinking": np.ptp(outline.size) / outline.size.mean() / 0.12,
        "rocking": np.ptp(outline.angle) / 0.22 if outline.elongation > 0.15 else 0.0,
    }
    phrase, strength = max(strengths.items(), key=lambda item: item[1])
    visible = frames.astype(np.float32)[..., :3] * (frames[..., 3:] / 255.0)
    amount = float(np.abs(np.diff(visible, axis=0)).mean() / 255) if len(frames) > 1 else 0.0
    return Motion(phrase if strength >= 1 else "moving in place", amount)
