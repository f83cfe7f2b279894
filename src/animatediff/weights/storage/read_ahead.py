"""Read weight files into the page cache while libraries are being imported.

From a cold start both take seconds, and neither needs the other. Nothing is stored here: the
operating system caches the pages, and may drop them if it needs the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Thread

from animatediff.weights.finding.model_folders import ModelFile, ModelFolder

PIECE = 16 << 20
"""Bytes per read, small enough not to block other reads."""


def first_read(model: ModelFolder | ModelFile, motion: Path | None) -> list[Path]:
    """Return the files that an animation needs before its first step, in the order of use.

    Raises:
        FileError: a part of the model is missing.
    """
    parts = [path for part, path in model.weights().items() if part != "vae"]
    return [*parts, *([motion] if motion is not None else [])]


def read_ahead(paths: Iterable[Path]) -> Thread:
    """Start reading files in this order; errors are left to the code that loads them."""
    thread = Thread(target=_ask_for, args=(tuple(dict.fromkeys(paths)),), daemon=True)
    thread.start()
    return thread


def _ask_for(paths: tuple[Path, ...]) -> None:
    if not hasattr(os, "posix_fadvise"):
        return
    for path in paths:
        try:
            with path.open("rb", buffering=0) as file:
                number, size = file.fileno(), os.fstat(file.fileno()).st_size
                for begin in range(0, size, PIECE):
                    os.posix_fadvise(number, begin, PIECE, os.POSIX_FADV_WILLNEED)
                    os.pread(number, 1, begin)  # waits until the piece starts to arrive
        except OSError:
            continue
