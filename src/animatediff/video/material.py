"""Frames from whatever a user has: a video, an animation, a folder of pictures, or one picture."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from animatediff.errors import FileError, reason_of
from animatediff.video.containers import FRAME_FACTS, MAX_PIXELS, Frames, check_readable
from animatediff.video.content import HEAD, kind_of
from animatediff.video.pictures import (
    count_frames,
    open_picture,
    read_picture,
    unsupported_picture,
)
from animatediff.video.video import Video

_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif")


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
    if not path.is_dir() and _is_still(path):
        return Material(read_picture(path, max_pixels=MAX_PIXELS)[None], (0,), still=True)
    video = Video.load(path)
    if video.num_frames == 1:
        return Material(video.frames, (0,), still=True)
    places = tuple(range(video.num_frames))
    return Material(video.frames, places, still=False, fps=video.fps)


def files_of(path: Path) -> tuple[Path, ...]:
    """Every file that ``read_material`` reads: the file itself, or the pictures of a folder.

    Raises:
        FileError: it is missing, neither a video nor a picture, or a folder without pictures.
    """
    if path.is_dir():
        return tuple(_numbered(path).values())
    if not path.is_file():
        raise FileError(f"{path} is missing; give a video, a folder of pictures, or a picture.")
    check_readable(path)
    return (path,)


def _is_still(path: Path) -> bool:
    """Whether a file is a picture that does not move; PNG, WebP, GIF and AVIF may be animated."""
    try:
        with path.open("rb") as file, open_picture(file) as picture:
            return count_frames(picture) == 1
    except Exception:  # noqa: BLE001 - what it is instead, or how it is broken, its reader says
        return False


def _is_picture(path: Path) -> bool:
    """Whether a file of a folder is a picture by its content, supported or not.

    Files whose names begin with a dot belong to the system, such as macOS' ``._0.png``.
    """
    if path.name.startswith(".") or not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)
    named = path.suffix.lower() in _SUFFIXES  # then it is a broken one, and must not vanish
    return named or kind_of(head) == "picture" or unsupported_picture(head) is not None


def _numbered(folder: Path) -> Mapping[int, Path]:
    try:
        paths = [path for path in sorted(folder.iterdir()) if _is_picture(path)]
    except OSError as error:
        raise FileError(f"{folder} cannot be read: {reason_of(error)}.") from None
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
