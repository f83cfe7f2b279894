"""A cache of frames by what determines them, as PNG strips in a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

Frames = UInt8[np.ndarray, "frames height width 3"]


class KeptFrames:
    """Frames in a folder, so that interrupted work continues.

    Args:
        folder: the cache.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, facts: str) -> Path:
        """Return the file of the frames that ``facts`` determine."""
        digest = hashlib.sha256(facts.encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[:32]}.png"

    def has(self, facts: str) -> bool:
        """Return whether these frames are kept."""
        return self.path(facts).exists()

    def frames(self, facts: str, draw: Callable[[], Frames], *, num_frames: int) -> Frames:
        """Return the kept frames, or those that ``draw`` returns, which are then kept.

        Args:
            facts: everything that determines the frames: weights, request, seed.
            draw: draws them.
            num_frames: how many there are.
        """
        path = self.path(facts)
        if not path.exists():
            keep_strip(draw(), path)
        with Image.open(path, formats=["PNG"]) as strip:
            pixels = np.asarray(strip.convert("RGB"))
        return pixels.reshape(num_frames, -1, *pixels.shape[1:])


def keep_strip(frames: Frames, path: Path) -> None:
    """Write frames one below the other. The file is complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    strip = frames.reshape(-1, *frames.shape[2:])
    Image.fromarray(np.ascontiguousarray(strip)).save(temporary, "PNG", compress_level=1)
    temporary.replace(path)
