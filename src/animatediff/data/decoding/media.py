"""Where the pictures of a clip are, what is known of each, and how much of them is decoded at most."""

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
"""Counts up when files are read differently: what was kept of them before is made again."""
FRAMES_RATE = Fraction(8)
"""The rate of numbered pictures that do not say theirs."""


@dataclass(frozen=True)
class Limits:
    """How much of a file is decoded at most.

    Attributes:
        frame_pixels: width x height of one frame (4K cinema fits, 4096 x 4096 does not).
        frames: frames looked at.
        seconds: of video looked at.
        kept_pixels: width x height x frames handed over, after resizing.
        timeout: seconds that one clip may take; kept by ``data/decoding/confined.py``.
        memory: bytes of address space of the process that decodes; kept there too.
    """

    frame_pixels: int = 4096 * 2304
    frames: int = 36_000
    seconds: float = 600.0
    kept_pixels: int = 1 << 28
    timeout: float = 120.0
    memory: int = 6 << 30


@dataclass(frozen=True)
class Media:
    """Where the pictures of a clip are.

    Attributes:
        path: the file; for numbered pictures, their folder.
        offset: where in the file the clip begins, for a member of an archive.
        length: how many bytes it has; ``None`` is to the end.
        pictures: the files of numbered pictures, in order.
        fps: the rate, where the pictures cannot tell.
        strip: so many frames are stacked in one tall picture.
    """

    path: Path
    offset: int = 0
    length: int | None = None
    pictures: tuple[Path, ...] = ()
    fps: Fraction | None = None
    strip: int = 0


@dataclass(frozen=True)
class Frame:
    """One picture of a clip and when it is shown; drawn only if it is wanted.

    Attributes:
        time: seconds since the clip's first picture.
        length: seconds it is shown.
        width: pixels as shown, after turning and with square pixels.
        height: the same.
        turned: degrees by which the file asks a player to turn it, counterclockwise.
        drawn: the picture at a width and a height.
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
        fps: its rate, on average.
        hdr: the transfer function, where it is not that of a plain screen.
        frames: its frames in the order they are shown; raises when they end too soon.
    """

    kind: str
    fps: Fraction
    hdr: str | None
    frames: Iterator[Frame]


def check_bound(media: Media, found: float, most: float, what: str, remedy: str) -> None:
    """Refuse what is over a limit, and say what to do.

    Raises:
        FileError: it is.
    """
    if found > most:
        raise FileError(
            f"{media.path} has {found:,.0f} {what} or more, and at most {most:,.0f} are decoded; "
            f"{remedy}."
        )
