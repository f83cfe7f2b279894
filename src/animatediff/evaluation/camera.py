"""How the camera moves in a clip: a similarity transform fitted to the flow between its frames.

Frames that are drawn anew one by one differ by more than a camera moves between neighbours. So the fit
goes from neighbours to frames ever farther apart, each time from where the last one says things went.

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
"""How many frames apart the compared ones are: half of the 16 of a clip at most."""

ROUNDS = 5
"""Of reweighting: enough for what moves by itself to lose its say."""

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
"""The rate that each pattern of ``data/camera.py`` is about, and its sign."""


@dataclass(frozen=True)
class CameraMotion:
    """How a camera moves, for each second.

    Attributes:
        zoom: the logarithm of how much larger things become.
        pan: to the right, in widths of the picture.
        tilt: upwards, in heights of the picture.
        roll: clockwise, in degrees.
    """

    zoom: float
    pan: float
    tilt: float
    roll: float

    def along(self, pattern: str) -> float:
        """The rate that a pattern is about, positive the way it goes."""
        name, sign = SIGNS[pattern]
        return sign * float(getattr(self, name))


class Similarity(NamedTuple):
    """Where a picture's points go, about its centre.

    Attributes:
        zoom: the logarithm of the scale.
        right: the shift of the centre, in pixels.
        down: the same.
        turn: clockwise on the screen, in radians.
    """

    zoom: float
    right: float
    down: float
    turn: float

    def matrix(self, side: int) -> Float[np.ndarray, "2 3"]:
        """From a square's pixels to where they go, by their numbers."""
        cos, sin = self._scaled_turn()
        centre = (side - 1) / 2
        right = self.right + centre * (1 - cos + sin)
        down = self.down + centre * (1 - cos - sin)
        return np.array([[cos, -sin, right], [sin, cos, down]])

    def then(self, other: Similarity) -> Similarity:
        """This, and the other after it."""
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
    """How the camera moves over a clip: the median of what its pairs of frames show.

    Args:
        frames: the clip; a still has no motion.
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
    """The similarity transform from one frame to another, by the flow that a guess leaves."""
    near = carried(first, guess.matrix(len(first)))
    return guess.then(similarity_of(flow_between(near, second), weight=texture(near)))


def similarity_of(flow: Flow, *, weight: Float[np.ndarray, "height width"]) -> Similarity:
    """The zoom, shift and turn that explain a flow best.

    Least squares with weights, again and again with less weight on what does not fit (Cauchy), so that
    a thing that moves by itself does not pass for the camera.
    """
    height, width = flow.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x.ravel() - (width - 1) / 2, y.ravel() - (height - 1) / 2
    u, v = flow[..., 0].ravel().astype(np.float64), flow[..., 1].ravel().astype(np.float64)
    own = weight.ravel().astype(np.float64)
    keep = own > 0
    if keep.sum() < 16:
        return NOWHERE
    x, y, u, v, own = (values[keep] for values in (x, y, u, v, own))
    ones, zeros = np.ones_like(x), np.zeros_like(x)
    # u = a x - b y + s, v = b x + a y + t.
    matrix = np.concatenate(
        [np.stack([x, -y, ones, zeros], axis=1), np.stack([y, x, zeros, ones], axis=1)]
    )
    target = np.concatenate([u, v])
    weights = own
    solution = np.zeros(4)
    for _ in range(ROUNDS):
        weighted = matrix.T * np.concatenate([weights, weights])
        solution = np.linalg.lstsq(weighted @ matrix, weighted @ target, rcond=None)[0]
        error = target - matrix @ solution
        length = np.hypot(error[: len(x)], error[len(x) :])
        scale = max(1e-3, 1.5 * float(np.median(length)))
        weights = own / (1 + (length / scale) ** 2)
    a, b, right, down = solution
    return Similarity(float(np.log(np.hypot(1 + a, b))), right, down, float(np.arctan2(b, 1 + a)))


def texture(frame: UInt8[np.ndarray, "height width 3"]) -> Float[np.ndarray, "height width"]:
    """How much there is to see at each pixel: where all is even, a flow says nothing."""
    grey = frame.astype(np.float32).mean(axis=-1)
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    return np.where(strength > 4, strength, 0.0)
