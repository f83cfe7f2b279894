"""Pictures whose EXIF asks a viewer to turn or mirror them: a phone's portrait, stored lying down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
SHOWN = {
    1: lambda f: f,
    2: lambda f: f[:, ::-1],
    3: lambda f: f[::-1, ::-1],
    4: lambda f: f[::-1],
    5: lambda f: f.swapaxes(0, 1),
    6: lambda f: np.rot90(f, -1),
    7: lambda f: np.rot90(f, 2).swapaxes(0, 1),
    8: lambda f: np.rot90(f),
}
"""What a viewer shows of the stored pixels, by the number in tag 0x0112 (EXIF 2.32, 4.6.4)."""


def stored() -> np.ndarray:
    """64 x 96 pixels with four different corners."""
    pixels = np.full((64, 96, 3), 90, np.uint8)
    pixels[:32, :48], pixels[:32, 48:], pixels[32:, :48] = 230, 30, (20, 20, 230)
    return pixels


def write(path: Path, *, orientation: int, format: str = "JPEG") -> Path:  # noqa: A002
    """A picture with that orientation; lossless, or nearly."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "exif": exif}
    if format == "WEBP":
        options["lossless"] = True
    if format == "JPEG":
        options["subsampling"] = 0
    Image.fromarray(stored()).save(path, format, **options)
    return path
