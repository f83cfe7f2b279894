"""Procedural motion: simple actions as affine transforms of a picture, one for each frame.

A still that is drawn under these transforms is a clip whose motion is known exactly: it bounces, spins,
sways and so on. Coordinates are those of the picture, from -1 to 1, with y down.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median_low

import numpy as np
from jaxtyping import Float

Affine = Float[np.ndarray, "3 3"]
"""A transform of homogeneous picture coordinates."""


@dataclass(frozen=True)
class Action:
    """An action with all its parameters.

    Attributes:
        name: a key of ``ACTIONS``.
        amount: its size, in units that depend on the action.
        cycles: number of repetitions in the clip.
        phase: position in the cycle at the first frame, from 0 to 1.
        way: direction, 1 or -1.
    """

    name: str
    amount: float
    cycles: float
    phase: float
    way: int = 1

    @classmethod
    def drawn(cls, name: str, draw: random.Random) -> Action:
        """Draw an action's amount, speed, phase and direction from their ranges."""
        kind = ACTIONS[name]
        return cls(
            name,
            draw.uniform(*kind.amounts),
            draw.choice(kind.cycles),
            draw.random() if kind.repeats else 0.0,
            draw.choice((1, -1)),
        )

    @classmethod
    def usual(
        cls,
        name: str,
        *,
        strength: float = 1.0,
        seconds: float = 2.0,
        num_frames: int | None = None,
    ) -> Action:
        """Return an action as gentle as its range allows, as often as suits a clip of this length.

        Stronger ones move things two or three times as fast as real clips of the same words do.

        Args:
            name: a key of ``ACTIONS``.
            strength: 2 goes twice as far as 1.
            seconds: length of the clip. One that repeats does so a whole number of times, so that
                the last frame leads to the first.
            num_frames: frames of the clip. A repetition takes at least three of them: if it took one,
                or for some actions two, all would show the same.
        """
        kind = ACTIONS[name]
        gentle = kind.amounts[-1 if kind.is_size else 0]
        cycles = float(median_low(kind.cycles))
        if kind.repeats:
            cycles = float(max(1, round(cycles * seconds / 2)))
            if num_frames is not None:
                cycles = min(cycles, float(max(1, num_frames // 3)))
        amount = gentle**strength if kind.is_size else gentle * strength
        return cls(name, amount, cycles, 0.0)

    @property
    def words(self) -> tuple[str, ...]:
        """Phrases for captions, the plainest first."""
        words = ACTIONS[self.name].words
        if self.name == "slide":
            return (*words, f"sliding to the {'right' if self.way > 0 else 'left'}")
        return words

    def transforms(self, num_frames: int, *, foot: float) -> list[Affine]:
        """Return the transform of every frame.

        Args:
            num_frames: frames of the clip.
            foot: y of the drawing's lowest point.
        """
        kind = ACTIONS[self.name]
        frames = range(num_frames)
        times = [self.cycles * i / num_frames + self.phase for i in frames]
        if not kind.repeats:
            times = [i / max(1, num_frames - 1) for i in frames]
        return [kind.at(self, time, foot) for time in times]


@dataclass(frozen=True)
class _Kind:
    """Definition of an action.

    Attributes:
        words: phrases for captions, the plainest first.
        amounts: the smallest and largest amount.
        cycles: allowed numbers of repetitions in a clip of two seconds.
        at: the transform at a time, in cycles or from 0 to 1 if it does not repeat.
        repeats: whether it is periodic.
        is_size: whether the amount is the size at one end, relative to that at the other.
    """

    words: tuple[str, ...]
    amounts: tuple[float, float]
    cycles: tuple[float, ...]
    at: Callable[[Action, float, float], Affine]
    repeats: bool = True
    is_size: bool = False


def eased(time: float) -> float:
    """Ease a time from 0 to 1 in and out."""
    return (1 - math.cos(math.pi * time)) / 2


def moved(x: float, y: float) -> Affine:
    """Return a shift."""
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])


def scaled(x: float, y: float, *, about: float = 0.0) -> Affine:
    """Return a scaling about the point ``(0, about)``."""
    return np.array([[x, 0.0, 0.0], [0.0, y, about * (1 - y)], [0.0, 0.0, 1.0]])


def turned(angle: float, *, about: float = 0.0) -> Affine:
    """Return a clockwise rotation in radians about the point ``(0, about)``."""
    cos, sin = math.cos(angle), math.sin(angle)
    rotation = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return moved(0, about) @ rotation @ moved(0, -about)


def _wave(action: Action, time: float) -> float:
    return action.way * math.sin(2 * math.pi * time)


def _bounce(action: Action, time: float, foot: float) -> Affine:
    """A ball's path between hits, flattened a little at the ground."""
    within = time % 1
    height = 4 * within * (1 - within)
    squash = 1 - 0.5 * action.amount * (1 - height) ** 4
    return moved(0, -action.amount * height) @ scaled(squash**-0.5, squash, about=foot)


def _sway(action: Action, time: float, foot: float) -> Affine:
    """Leaning from side to side on the foot; the way decides between a rotation and a shear."""
    angle = action.amount * math.sin(2 * math.pi * time)
    if action.way > 0:
        return turned(angle, about=foot)
    return moved(math.tan(angle) * foot, 0) @ np.array(
        [[1.0, -math.tan(angle), 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    )


def _rock(action: Action, time: float, foot: float) -> Affine:
    del foot
    return turned(action.amount * _wave(action, time))


def _spin(action: Action, time: float, foot: float) -> Affine:
    del foot
    return turned(action.amount * action.way * 2 * math.pi * time)


def _pulse(action: Action, time: float, foot: float) -> Affine:
    del foot
    size = math.exp(action.amount * _wave(action, time))
    return scaled(size, size)


def _shake(action: Action, time: float, foot: float) -> Affine:
    wave = _wave(action, time)
    return moved(action.amount * wave, 0) @ turned(0.4 * action.amount * wave, about=foot)


def _nod(action: Action, time: float, foot: float) -> Affine:
    """Down and up again, pressed together a little on the way."""
    down = eased(2 * (time % 1)) * action.amount
    return moved(0, 0.4 * down) @ scaled(1 + 0.2 * down, 1 - 0.6 * down, about=foot)


def _squash(action: Action, time: float, foot: float) -> Affine:
    height = math.exp(action.amount * _wave(action, time))
    return scaled(height**-0.8, height, about=foot)


def _slide(action: Action, time: float, foot: float) -> Affine:
    del foot
    return moved(action.way * action.amount * (2 * eased(time) - 1), 0)


def _to_and_fro(action: Action, time: float, foot: float) -> Affine:
    del foot
    return moved(action.amount * _wave(action, time), 0)


def _grow(action: Action, time: float, foot: float) -> Affine:
    del foot
    size = action.amount ** (1 - eased(time))
    return scaled(size, size)


def _shrink(action: Action, time: float, foot: float) -> Affine:
    return _grow(action, 1 - time, foot)


ACTIONS: Mapping[str, _Kind] = {
    "bounce": _Kind(
        ("bouncing", "bouncing up and down", "jumping", "hopping"),
        (0.2, 0.5),
        (1, 2, 2, 3),
        _bounce,
    ),
    "sway": _Kind(("swaying", "swaying from side to side"), (0.12, 0.35), (1, 1, 2), _sway),
    "rock": _Kind(("rocking", "tilting"), (0.15, 0.45), (1, 2, 2), _rock),
    "spin": _Kind(("spinning", "turning around", "rotating"), (1.0, 1.0), (0.5, 1, 1), _spin),
    "pulse": _Kind(("pulsing", "growing and shrinking", "beating"), (0.1, 0.22), (1, 2, 2), _pulse),
    "shake": _Kind(("shaking", "trembling"), (0.06, 0.14), (3, 4, 5), _shake),
    "nod": _Kind(("nodding",), (0.15, 0.4), (2, 2, 3), _nod),
    "squash": _Kind(("squashing and stretching", "wobbling"), (0.14, 0.32), (1, 2, 2, 3), _squash),
    "slide": _Kind(("sliding",), (0.2, 0.5), (1,), _slide, repeats=False),
    "to-and-fro": _Kind(
        ("moving from side to side", "sliding from side to side"), (0.15, 0.4), (1, 2), _to_and_fro
    ),
    "grow": _Kind(("growing",), (0.45, 0.7), (1,), _grow, repeats=False, is_size=True),
    "shrink": _Kind(("shrinking",), (0.45, 0.7), (1,), _shrink, repeats=False, is_size=True),
}
"""Every action that a still can be shown doing."""


def largest_fit(
    hull: Float[np.ndarray, "points 2"],
    transforms: list[Affine],
    *,
    edges: tuple[float, float] = (1.0, 1.0),
    smallest: float = 0.55,
) -> float:
    """Return the largest scale at which a thing stays in the picture under every transform.

    Args:
        hull: its convex hull.
        transforms: of every frame.
        edges: x and y at which the picture ends; the shorter side of one that is not square ends
            before 1.
        smallest: lower bound of the result, even if the thing then leaves the picture.

    Returns:
        A factor of at most 1.
    """
    factor = 1.0
    for matrix in transforms:
        reach = np.abs(hull @ matrix[:2, :2].T).max(axis=0)
        room = np.array(edges) - np.abs(matrix[:2, 2])
        factor = min(factor, float((room / np.maximum(reach, 1e-6)).min()))
    return max(smallest, factor)
