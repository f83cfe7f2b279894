"""The formats that a result can have: their names, suffixes and media types."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class ResultFormat:
    """A format that a client may order.

    Attributes:
        kind: as ``Video.save`` knows it.
        suffix: of its file in the store.
        media_type: of HTTP.
        name_suffix: of the file name that a download is offered under.
        frames: ``whole`` writes one file of all frames, ``each`` a file for each frame, and ``zip``
            one archive with a file for each frame.
    """

    kind: str
    suffix: str
    media_type: str
    name_suffix: str = ""
    frames: Literal["whole", "each", "zip"] = "whole"


RESULT_FORMATS: Mapping[str, ResultFormat] = {
    "mp4": ResultFormat("mp4", ".mp4", "video/mp4"),
    "webm": ResultFormat("webm", ".webm", "video/webm"),
    "gif": ResultFormat("gif", ".gif", "image/gif"),
    "webp": ResultFormat("webp", ".webp", "image/webp"),
    "apng": ResultFormat("apng", ".png", "image/png"),
    "png": ResultFormat("png", ".png", "image/png", frames="each"),
    "av1": ResultFormat("av1.mp4", ".mp4", "video/mp4", name_suffix=".av1.mp4"),
    "prores": ResultFormat("mov", ".mov", "video/quicktime"),
    "ffv1": ResultFormat("mkv", ".mkv", "video/x-matroska"),
    "png16": ResultFormat("png16", ".zip", "application/zip", frames="zip"),
}
"""Every format by the command line's name; ``png16``, there a folder, is a ZIP here."""
FORMATS = tuple(RESULT_FORMATS)
SYNONYMS = {"mov": "prores", "mkv": "ffv1", "av1.mp4": "av1"}
"""Other names of a format that the command line takes."""
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every file in an archive, so that equal frames give equal bytes."""


def zip_of(pictures: Sequence[Callable[[Path], Path]], *, temporary: Callable[[str], Path]) -> Path:
    """Write pictures into one archive as ``frame_0000.png`` and so on, and return its path.

    Args:
        pictures: each writes one picture under a path and returns the path.
        temporary: names the next temporary file with a suffix.
    """
    path = temporary(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for number, write in enumerate(pictures):
            written = write(temporary(".png"))
            entry = zipfile.ZipInfo(f"frame_{number:04d}.png", _EPOCH)
            archive.writestr(entry, written.read_bytes())
            written.unlink()
    return path
