"""Videos: frames and their rate, read from and written to files with metadata.

The names below are imported when they are first used, so that what needs only a small part of this
room, such as the names of the ways to fit a picture, does not load FFmpeg.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from animatediff.video.containers import (
        ALIASES,
        FORMATS,
        check_target,
        format_of,
        read_metadata,
    )
    from animatediff.video.facts import LEFT_OUT
    from animatediff.video.video import Video, grid

__all__ = [
    "ALIASES",
    "FORMATS",
    "LEFT_OUT",
    "Video",
    "check_target",
    "format_of",
    "grid",
    "read_metadata",
]

_HOMES = {
    "ALIASES": "containers",
    "FORMATS": "containers",
    "LEFT_OUT": "facts",
    "Video": "video",
    "check_target": "containers",
    "format_of": "containers",
    "grid": "video",
    "read_metadata": "containers",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
