"""A phone's JPEG that carries a second, smaller picture (MPO): a gain map, which no viewer shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def write(path: Path, *, orientation: int = 1) -> Path:
    """A red picture of 96 x 64 and a grey one of 48 x 32 behind it, in one file."""
    red = Image.fromarray(np.full((64, 96, 3), (220, 30, 30), np.uint8))
    gains = Image.fromarray(np.full((32, 48, 3), 128, np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    with path.open("wb") as file:
        red.save(file, "MPO", save_all=True, append_images=[gains], quality=95, exif=exif)
    return path
