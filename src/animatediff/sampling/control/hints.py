"""Hints of an animation: pictures at its size, and which of them is for which frame."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.control.options import MissingName
from animatediff.video.containers import Frames
from animatediff.video.fit import FitName, fit_frames
from animatediff.video.material import read_material


@dataclass(frozen=True, eq=False)
class Hints:
    """Pictures, and the one that each frame of an animation follows.

    Attributes:
        frames: the pictures, at the animation's size; each once.
        rows: for each frame of the animation, the number of its picture; -1 where it has none.
    """

    frames: Frames
    rows: tuple[int, ...]


def read_hints(
    path: Path, *, num_frames: int, width: int, height: int, fit: FitName, missing: MissingName
) -> Hints:
    """Read hints and lay them out over an animation.

    Args:
        path: a video, a folder of pictures, or a picture, which is for every frame.
        num_frames: of the animation; further pictures are left out.
        width: of the animation.
        height: of the animation.
        fit: what becomes of pictures of another shape.
        missing: what frames follow that have no picture of their own.

    Raises:
        FileError: the pictures cannot be read.
        InputError: they are all for frames after the last.
    """
    material = read_material(path)
    if material.still:
        rows: tuple[int, ...] = (0,) * num_frames
    else:
        places = [place for place in material.places if place < num_frames]
        if not places:
            raise InputError(
                f"{path} begins at frame {material.places[0]}, and the animation has {num_frames}; "
                "number its pictures from 0."
            )
        rows = rows_of(places, num_frames=num_frames, missing=missing)
    used = material.frames[: max(rows) + 1]
    return Hints(fit_frames(used, width=width, height=height, fit=fit), rows)


def rows_of(places: Sequence[int], *, num_frames: int, missing: MissingName) -> tuple[int, ...]:
    """The picture of each frame, where pictures are for the frames ``places``, which rise.

    ``nearest`` takes the one closest in time, the earlier of two; ``hold`` the last before the frame;
    ``none``, or a frame before the first under ``hold``, is -1.
    """
    rows: list[int] = []
    for frame in range(num_frames):
        before = bisect_right(places, frame) - 1
        if before >= 0 and places[before] == frame:
            rows.append(before)
        elif missing == "none":
            rows.append(-1)
        elif missing == "hold":
            rows.append(before)
        else:
            rows.append(min(range(len(places)), key=lambda row: abs(places[row] - frame)))
    return tuple(rows)


def as_unit(frames: Frames) -> Float[Tensor, "n 3 h w"]:
    """Bytes as numbers in [0, 1]."""
    return rearrange(torch.from_numpy(frames.copy()).float() / 255, "n h w c -> n c h w")
