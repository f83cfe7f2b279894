"""Camera poses: one for each frame, as a lens and a world-to-camera matrix."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import FileError, reason_of

LENS = (0.474812461, 0.844111024, 0.5, 0.5)
"""Focal lengths and centre as shares of width and height, of a usual clip of RealEstate10K."""
SHAPE = 1280 / 720
"""Width to height of the pictures that lenses are for."""
_LINE = 19
"""Numbers of a line: time, lens, two unused, and a matrix of 3 x 4."""
_MATRIX = 12
MAX_BYTES = 16 << 20


@dataclass(frozen=True)
class Poses:
    """A camera path.

    Attributes:
        lenses: fx, fy, cx, cy as shares of width and height.
        matrices: world to camera, rotation and translation.
        relative: whether the first pose is the origin, or is to be made it.
    """

    lenses: Float[Tensor, "f 4"]
    matrices: Float[Tensor, "f 3 4"]
    relative: bool = True

    @property
    def square(self) -> Float[Tensor, "f 4 4"]:
        """World to camera, with a last row."""
        last = self.matrices.new_tensor([0, 0, 0, 1]).expand(len(self.matrices), 1, 4)
        return torch.cat([self.matrices, last], dim=1)


def read_poses(path: Path, *, num_frames: int) -> Poses:
    """Read a file of poses, and spread them over the frames if it has another number.

    Args:
        path: lines as in RealEstate10K (a title, then 19 numbers for each frame), or JSON: a list of
            12 numbers for each frame, as MotionCtrl's examples are.
        num_frames: of the animation.

    Raises:
        FileError: it is missing, or holds something else.
    """
    rows = _rows(path)
    numbers = torch.tensor(rows, dtype=torch.float64)
    if not bool(numbers.isfinite().all()):
        raise FileError(f"{path} has numbers that are not finite; correct them.")
    lines = numbers.shape[1] == _LINE
    matrices = numbers[:, -_MATRIX:].reshape(-1, 3, 4)
    lenses = numbers[:, 1:5] if lines else numbers.new_tensor(LENS).expand(len(numbers), -1)
    last = len(numbers) - 1
    chosen = [round(i * last / max(1, num_frames - 1)) for i in range(num_frames)]
    return Poses(lenses[chosen], matrices[chosen], relative=not lines)


def _rows(path: Path) -> list[list[float]]:
    wanted = (
        "write a line of 19 numbers for each frame, as in RealEstate10K, or JSON with a list of 12 "
        "numbers for each"
    )
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"{path} is too large for a camera path; {wanted}.")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} is no camera path; {wanted}.") from None
    try:
        rows: Any = json.loads(text) if text.lstrip().startswith("[") else _lines(text)
        found = [[float(number) for number in row] for row in rows]
    except (ValueError, TypeError, RecursionError):
        found = []
    widths = {len(row) for row in found}
    if widths not in ({_MATRIX}, {_LINE}) or (widths == {_LINE} and text.lstrip().startswith("[")):
        raise FileError(f"{path} is no camera path; {wanted}.")
    return found


def _lines(text: str) -> list[list[str]]:
    """Lines of numbers; the first may be a title, such as the address of the clip."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    return lines[1:] if lines and len(lines[0]) != _LINE else lines


def relative_to_first(poses: Poses) -> Float[Tensor, "f 4 4"]:
    """Camera to world, where the world is what the first camera sees."""
    square = poses.square
    return square[:1] @ torch.linalg.inv(square)


def seen_from_first(poses: Poses) -> Float[Tensor, "f 12"]:
    """World to camera in twelve numbers, relative to the first camera unless they are already."""
    square = poses.square
    if not poses.relative:
        square = square @ torch.linalg.inv(square[:1])
    return square[:, :3].reshape(-1, _MATRIX)


def rays(poses: Poses, *, width: int, height: int) -> Float[Tensor, "f 6 height width"]:
    """The ray of every pixel in Plücker coordinates: origin x direction, and direction.

    Lenses are for pictures of another shape; as in cropping, the longer side keeps its angle.
    """
    to_world = relative_to_first(poses)
    fx, fy, cx, cy = poses.lenses.unbind(dim=1)
    if width / height < SHAPE:
        fx = fx * height * SHAPE / width
    else:
        fy = fy * width / SHAPE / height
    across = (torch.arange(width, dtype=torch.float64) + 0.5)[None] / width
    down = (torch.arange(height, dtype=torch.float64) + 0.5)[None] / height
    x = ((across - cx[:, None]) / fx[:, None])[:, None, :].expand(-1, height, -1)
    y = ((down - cy[:, None]) / fy[:, None])[:, :, None].expand(-1, -1, width)
    directions = torch.stack([x, y, torch.ones_like(x)], dim=1)
    directions = directions / directions.norm(dim=1, keepdim=True)
    turned = torch.einsum("fij,fjhw->fihw", to_world[:, :3, :3], directions)
    origins = to_world[:, :3, 3, None, None].expand_as(turned)
    return torch.cat([torch.linalg.cross(origins, turned, dim=1), turned], dim=1).float()


def rotation(angles: tuple[float, float, float]) -> Float[Tensor, "3 3"]:
    """A rotation around x, then y, then z, by angles in radians."""
    (cx, sx), (cy, sy), (cz, sz) = ((math.cos(a), math.sin(a)) for a in angles)
    around_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]], dtype=torch.float64)
    around_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], dtype=torch.float64)
    around_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]], dtype=torch.float64)
    return around_z @ around_y @ around_x
