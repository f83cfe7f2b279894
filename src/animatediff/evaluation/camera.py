"""Camera motion of a clip: a similarity transform fitted to the optical flow between its frames.

Frames that are drawn one by one differ by more than the camera moves between neighbours. The fit
therefore starts with neighbouring frames and continues with frames further apart, each time
starting from the last fit.

Signs are the camera's, as in ``data/camera.py``: zooming in, panning right, tilting up and rolling
clockwise are positive, so things grow, move left, move down and turn anticlockwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.evaluation.motion_metrics import (
    FLOW_RATE,
    SIZE,
    carried,
    flow_between,
    resized,
)

Frames = UInt8[np.ndarray, "frames height width 3"]
Flow = Float[np.ndarray, "height width 2"]

GAPS = (1, 2, 4, 8)
"""How many frames apart the compared frames are: at most half of a clip of 16."""

ROUNDS = 5
"""Iterations of reweighting, enough for moving things to lose their influence."""

SIGNS = {
    "zoom-in": ("zoom", 1),
    "zoom-out": ("zoom", -1),
    "pan-right": ("pan", 1),
    "pan-left": ("pan", -1),
    "tilt-up": ("tilt", 1),
    "tilt-down": ("tilt", -1),
    "roll-clockwise": ("roll", 1),
    "roll-anticlockwise": ("roll", -1),
}
"""The rate that each pattern of ``data/camera.py`` changes, and its sign."""


@dataclass(frozen=True)
class CameraMotion:
    """Camera motion per second.

    Attributes:
        zoom: logarithm of the growth of things.
        pan: to the right, in widths of the picture.
        tilt: upwards, in heights of the picture.
        roll: clockwise, in degrees.
    """

    zoom: float
    pan: float
    tilt: float
    roll: float

    def along(self, pattern: str) -> float:
        """Return the rate that a pattern changes, positive in the pattern's direction."""
        name, sign = SIGNS[pattern]
        return sign * float(getattr(self, name))


class Similarity(NamedTuple):
    """A similarity transform about the picture's centre.

    Attributes:
        zoom: logarithm of the scale.
        right: shift of the centre, in pixels.
        down: shift of the centre, in pixels.
        turn: clockwise on the screen, in radians.
    """

    zoom: float
    right: float
    down: float
    turn: float

    def matrix(self, side: int) -> Float[np.ndarray, "2 3"]:
        """Return the matrix from a square's pixel indices to their targets."""
        cos, sin = self._scaled_turn()
        centre = (side - 1) / 2
        right = self.right + centre * (1 - cos + sin)
        down = self.down + centre * (1 - cos - sin)
        return np.array([[cos, -sin, right], [sin, cos, down]])

    def then(self, other: Similarity) -> Similarity:
        """Return this transform followed by another."""
        cos, sin = other._scaled_turn()
        return Similarity(
            self.zoom + other.zoom,
            cos * self.right - sin * self.down + other.right,
            sin * self.right + cos * self.down + other.down,
            self.turn + other.turn,
        )

    def _scaled_turn(self) -> tuple[float, float]:
        scale = np.exp(self.zoom)
        return float(scale * np.cos(self.turn)), float(scale * np.sin(self.turn))


NOWHERE = Similarity(0.0, 0.0, 0.0, 0.0)


def camera_motion(frames: Frames, *, fps: Fraction | float = FLOW_RATE) -> CameraMotion:
    """Measure the camera motion of a clip: the median over its pairs of frames.

    Args:
        frames: the clip; a single frame has no motion.
        fps: its rate.

    Raises:
        InputError: OpenCV is not installed.
    """
    small = resized(frames, side=SIZE)
    each = np.zeros(4)
    for gap in (gap for gap in GAPS if gap < len(small)):
        guess = Similarity(*each * gap)
        pairs = zip(small, small[gap:], strict=False)
        each = np.median([registered(a, b, guess=guess) for a, b in pairs], axis=0) / gap
    zoom, right, down, turn = each * float(fps)
    return CameraMotion(zoom, -right / SIZE, down / SIZE, -np.degrees(turn))


def registered(
    first: UInt8[np.ndarray, "side side 3"],
    second: UInt8[np.ndarray, "side side 3"],
    *,
    guess: Similarity = NOWHERE,
) -> Similarity:
    """Fit the transform from one frame to another, starting from a guess."""
    near = carried(first, guess.matrix(len(first)))
    return guess.then(similarity_of(flow_between(near, second), weight=texture(near)))


def similarity_of(flow: Flow, *, weight: Float[np.ndarray, "height width"]) -> Similarity:
    """Fit zoom, shift and turn to a flow by iteratively reweighted least squares.

    Pixels that do not fit get less weight (Cauchy), so a moving thing is not taken for camera
    motion.
    """
    height, width = flow.shape[:2]
    weights = weight.ravel().astype(np.float64)
    keep = weights > 0
    if keep.sum() < 16:
        return NOWHERE
    own = weights = weights[keep]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    # As complex numbers, places move by factor * place + shift.
    place = (x - (width - 1) / 2 + 1j * (y - (height - 1) / 2)).ravel()[keep]
    moved = (flow[..., 0] + 1j * flow[..., 1].astype(np.float64)).ravel()[keep]
    factor = shift = 0j
    for _ in range(ROUNDS):
        total = weights.sum()
        centre, mean = weights @ place / total, weights @ moved / total
        around = place - centre
        weighted = weights * around.conj()
        factor = weighted @ (moved - mean) / (weighted @ around).real
        shift = mean - factor * centre
        length = np.abs(moved - factor * place - shift)
        scale = max(1e-3, 1.5 * float(np.median(length)))
        weights = own / (1 + (length / scale) ** 2)
    grown = 1 + factor
    return Similarity(
        float(np.log(abs(grown))), float(shift.real), float(shift.imag), float(np.angle(grown))
    )


def texture(frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """Weight of each pixel: its texture. In uniform areas, flow means nothing."""
    grey = frame.astype(np.float32).mean(axis=-1)
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    return np.where(strength > 4, strength, 0.0)
