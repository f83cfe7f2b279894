"""The place of a clip's pictures, their metadata, and the limits of decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from animatediff.errors import FileError

Picture = UInt8[np.ndarray, "height width 3"]
Frames = UInt8[np.ndarray, "frames height width 3"]

READER = 2
"""Increased when files are read differently, which invalidates caches."""
FRAMES_RATE = Fraction(8)
"""The rate of numbered pictures without one."""


@dataclass(frozen=True)
class Limits:
    """Limits of decoding a file.

    Attributes:
        frame_pixels: width x height of one frame (4K cinema fits, 4096 x 4096 does not).
        frames: frames examined.
        seconds: seconds of video examined.
        kept_pixels: width x height x frames returned, after resizing.
        timeout: seconds per clip; enforced by ``data/decoding/confined.py``.
        memory: bytes of address space of the decoding process; enforced there too.
    """

    frame_pixels: int = 4096 * 2304
    frames: int = 36_000
    seconds: float = 600.0
    kept_pixels: int = 1 << 28
    timeout: float = 120.0
    memory: int = 6 << 30


@dataclass(frozen=True)
class Media:
    """The place of a clip's pictures.

    Attributes:
        path: the file; for numbered pictures, their folder.
        offset: where the clip starts in the file, for a member of an archive.
        length: its bytes; ``None`` for the rest of the file.
        pictures: the files of numbered pictures, in order.
        fps: the rate, if the pictures have none.
        strip: this many frames are stacked in one tall picture.
    """

    path: Path
    offset: int = 0
    length: int | None = None
    pictures: tuple[Path, ...] = ()
    fps: Fraction | None = None
    strip: int = 0


@dataclass(frozen=True)
class Frame:
    """One picture of a clip and its time; it is drawn only on demand.

    Attributes:
        time: seconds since the clip's first picture.
        length: seconds it is shown.
        width: pixels as shown, after rotation and with square pixels.
        height: pixels as shown.
        turned: rotation in degrees that the file asks a player for, counterclockwise.
        drawn: draws the picture at a width and a height.
    """

    time: float
    length: float
    width: int
    height: int
    turned: int
    drawn: Callable[[int, int], Picture]


@dataclass(frozen=True)
class Opened:
    """A clip that is being read.

    Attributes:
        kind: codec and container, for reports.
        fps: its average rate.
        hdr: the transfer function of HDR video.
        frames: its frames in display order; raises if they end too soon.
    """

    kind: str
    fps: Fraction
    hdr: str | None
    frames: Iterator[Frame]


def check_bound(media: Media, found: float, most: float, what: str, remedy: str) -> None:
    """Check a limit.

    Raises:
        FileError: it is exceeded; the error says what to do.
    """
    if found > most:
        raise FileError(
            f"{media.path} has {found:,.0f} {what} or more; at most {most:,.0f} are decoded; "
            f"{remedy}."
        )
