"""Camera moves by name: pan, tilt, turn, zoom and roll, at a speed, and several at once.

A camera looks along z, x points right and y down. Moving it to the left shifts the world to the right,
so translations below are those of the world. Distances and angles are those of MotionCtrl's program.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from animatediff.errors import InputError

if TYPE_CHECKING:
    from animatediff.sampling.camera.poses import Poses

Triple = tuple[float, float, float]

DISTANCE = 1.5
ANGLE = math.pi / 3
FRAMES = 16
"""In so many frames a camera of speed 1 moves by ``DISTANCE`` and turns by ``ANGLE``."""
MAX_SPEED = 10.0
MAX_MOVES = 8
REACH: Mapping[str, Triple] = {"cameractrl": (1.0, 1.0, 1.0), "cmcm": (3.0, 1.0, 4.0)}
"""How far each network's cameras moved in its examples, along x, y and z."""


@dataclass(frozen=True)
class Move:
    """One move, at speed 1.

    Attributes:
        shift: of the world.
        turn: of the world, around x, y and z.
    """

    shift: Triple = (0.0, 0.0, 0.0)
    turn: Triple = (0.0, 0.0, 0.0)


MOVES: Mapping[str, Move] = {
    "static": Move(),
    "pan-left": Move(shift=(1, 0, 0)),
    "pan-right": Move(shift=(-1, 0, 0)),
    "pan-up": Move(shift=(0, 1, 0)),
    "pan-down": Move(shift=(0, -1, 0)),
    "zoom-in": Move(shift=(0, 0, -1)),
    "zoom-out": Move(shift=(0, 0, 1)),
    "tilt-up": Move(turn=(-1, 0, 0)),
    "tilt-down": Move(turn=(1, 0, 0)),
    "turn-left": Move(turn=(0, 1, 0)),
    "turn-right": Move(turn=(0, -1, 0)),
    "roll-left": Move(turn=(0, 0, 1)),
    "roll-right": Move(turn=(0, 0, -1)),
}
"""Moves of the camera: pan moves it sideways, tilt and turn look up and around, roll leans it."""


def is_moves(text: str) -> bool:
    """Whether a camera path is written as moves, and is no file."""
    names = re.split(r"[+:]", text.strip())
    return bool(text.strip()) and "/" not in text and "." not in names[0]


def parse_moves(text: str) -> list[tuple[Move, float]]:
    """Moves and their speeds, of ``pan-left:0.5+zoom-in``.

    Raises:
        InputError: there is no such move, or a speed is out of range.
    """
    parts = text.split("+")
    if len(parts) > MAX_MOVES:
        raise InputError(f"--camera-path joins {len(parts)} moves, and at most {MAX_MOVES} can be.")
    found: list[tuple[Move, float]] = []
    for part in parts:
        name, _, speed = part.strip().partition(":")
        if name not in MOVES:
            raise InputError(
                f"There is no camera move {name!r:.40}; use {', '.join(MOVES)}, or a file of poses."
            )
        try:
            value = float(speed or 1)
        except ValueError:
            value = math.nan
        if not 0 <= value <= MAX_SPEED:
            raise InputError(
                f"The speed of the camera move {part.strip()!r:.40} is not a number from 0 to "
                f"{MAX_SPEED:g}; write, for example, {name}:1.5."
            )
        found.append((MOVES[name], value))
    return found


def poses_of(text: str, *, num_frames: int, version: str) -> Poses:
    """The poses of moves, from the first frame on.

    Args:
        text: as ``parse_moves`` reads it.
        num_frames: of the animation.
        version: of the network, which decides how far a move reaches.

    Raises:
        InputError: as for ``parse_moves``.
    """
    import torch

    from animatediff.sampling.camera.poses import LENS, Poses, rotation

    moves, reach = parse_moves(text), REACH[version]
    shift = [sum(speed * move.shift[axis] for move, speed in moves) for axis in range(3)]
    turn = [sum(speed * move.turn[axis] for move, speed in moves) for axis in range(3)]
    rows: list[torch.Tensor] = []
    for frame in range(num_frames):
        along = frame / FRAMES
        x, y, z = (along * ANGLE * angle for angle in turn)
        distances = [
            along * DISTANCE * distance * far for distance, far in zip(shift, reach, strict=True)
        ]
        moved = torch.tensor(distances, dtype=torch.float64)[:, None]
        rows.append(torch.cat([rotation((x, y, z)), moved], dim=1))
    lenses = torch.tensor(LENS, dtype=torch.float64).expand(num_frames, -1)
    return Poses(lenses, torch.stack(rows))
