"""A cache of animations drawn for the evaluation, so that an interrupted evaluation continues.

Two questions that need the same animation draw it once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8
from PIL import Image

if TYPE_CHECKING:
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest

Frames = UInt8[np.ndarray, "frames height width 3"]


class KeptAnimations:
    """Frames by request, as PNG strips in a folder.

    Args:
        folder: the cache.
        fingerprint: hash of everything else the drawings depend on: the weights.
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self.folder = folder
        self.fingerprint = fingerprint

    def frames(self, animator: Animator, request: AnimationRequest) -> Frames:
        """Return the frames of a request from the cache, or let ``animator`` draw them."""
        path = self._path(request)
        if not path.exists():
            self._keep(animator.animate(request).video.frames, path)
        with Image.open(path, formats=["PNG"]) as strip:
            pixels = np.asarray(strip.convert("RGB"))
        num_frames = request.num_frames or animator.resolved(request).num_frames
        assert num_frames is not None
        return pixels.reshape(num_frames, -1, *pixels.shape[1:])

    def _path(self, request: AnimationRequest) -> Path:
        asked = json.dumps(dataclasses.asdict(request), sort_keys=True, default=str)
        digest = hashlib.sha256(f"{self.fingerprint}/{asked}".encode()).hexdigest()
        return self.folder / digest[:2] / f"{digest[:32]}.png"

    def _keep(self, frames: Frames, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        strip = frames.reshape(-1, *frames.shape[2:])
        Image.fromarray(np.ascontiguousarray(strip)).save(temporary, "PNG", compress_level=1)
        temporary.replace(path)


def fingerprint_of(files: list[Path]) -> str:
    """Return one hash of the content of all files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
