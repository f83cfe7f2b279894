"""Frames from whatever a user has: a video, an animation, a folder of pictures, or one picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from animatediff.errors import FileError
from animatediff.video.containers import FRAME_FACTS, MAX_PIXELS, Frames
from animatediff.video.pictures import read_picture
from animatediff.video.video import Video

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".exr")
_STILL = (".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".exr")


@dataclass(frozen=True, eq=False)
class Material:
    """Frames and the places that they are for.

    Attributes:
        frames: sRGB bytes, all of one size.
        places: the frame of the animation that each is for, rising.
        still: whether it is a single picture, which is for every frame.
        fps: of a video; ``None`` if nothing says it.
    """

    frames: Frames
    places: tuple[int, ...]
    still: bool
    fps: Fraction | None = None


def read_material(path: Path) -> Material:
    """Read a video, a folder of pictures or a picture.

    The pictures of a folder are frames in the order of the numbers in their names. If numbers are
    left out in between, they are taken as the places of the frames, counted from 0.

    Raises:
        FileError: it is missing, broken, of a kind that cannot be read, or a folder without pictures
            or with pictures of several sizes.
    """
    if path.is_dir() and not (path / FRAME_FACTS).is_file():
        return _of_folder(path)
    if path.is_dir() or not _is_still(path):
        video = Video.load(path)
        if video.num_frames > 1:
            places = tuple(range(video.num_frames))
            return Material(video.frames, places, still=False, fps=video.fps)
    return Material(read_picture(path, max_pixels=MAX_PIXELS)[None], (0,), still=True)


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that ``read_material`` reads: the file itself, or the pictures of a folder.

    Raises:
        FileError: it is missing, or a folder without pictures.
    """
    if path.is_dir():
        return tuple(_numbered(path).values())
    if not path.is_file():
        raise FileError(f"{path} is missing; give a video, a folder of pictures, or a picture.")
    return (path,)


def _is_still(path: Path) -> bool:
    """Whether a file can only be a picture; PNG and WebP may be animated."""
    return path.suffix.lower() in _STILL


def _numbered(folder: Path) -> Mapping[int, Path]:
    paths = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in PICTURE_SUFFIXES]
    if not paths:
        raise FileError(f"{folder} holds no pictures; give a folder of PNG or JPEG frames.")
    numbers = [re.findall(r"\d+", path.stem) for path in paths]
    if not all(numbers):
        return dict(enumerate(paths))
    by_number = {int(found[-1]): path for found, path in zip(numbers, paths, strict=True)}
    if len(by_number) < len(paths):
        raise FileError(f"{folder} holds two pictures of the same number; number them as frames.")
    ordered = sorted(by_number)
    gaps = ordered[-1] - ordered[0] + 1 > len(ordered)
    return {n if gaps else i: by_number[n] for i, n in enumerate(ordered)}


def _of_folder(folder: Path) -> Material:
    numbered = _numbered(folder)
    pictures = [read_picture(path) for path in numbered.values()]
    sizes = {picture.shape for picture in pictures}
    if len(sizes) > 1:
        shown = " and ".join(f"{w} x {h}" for h, w, _ in sorted(sizes)[:2])
        raise FileError(f"{folder} holds pictures of several sizes ({shown}); make them one size.")
    return Material(np.stack(pictures), tuple(numbered), still=False)
