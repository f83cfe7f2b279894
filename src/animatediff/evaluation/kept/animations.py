"""A cache of animations drawn for the evaluation, so that an interrupted evaluation continues.

Two questions that need the same animation draw it once.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.evaluation.kept.frames import Frames, KeptFrames

if TYPE_CHECKING:
    from animatediff.sampling.animator import Animator
    from animatediff.sampling.request import AnimationRequest


class KeptAnimations:
    """Frames by request, as PNG strips in a folder.

    Args:
        folder: the cache.
        fingerprint: hash of everything else the drawings depend on: the weights.
    """

    def __init__(self, folder: Path, *, fingerprint: str) -> None:
        self._kept = KeptFrames(folder)
        self.fingerprint = fingerprint

    def frames(self, animator: Animator, request: AnimationRequest) -> Frames:
        """Return the frames of a request from the cache, or let ``animator`` draw them.

        What the request leaves open is filled in first, so that drawings do not outlive a change of
        the model's defaults.
        """
        settled = animator.resolved(request)
        num_frames = settled.num_frames
        assert num_frames is not None
        asked = json.dumps(dataclasses.asdict(settled), sort_keys=True, default=str)
        return self._kept.frames(
            f"{self.fingerprint}/{asked}",
            lambda: animator.animate(request).video.frames,
            num_frames=num_frames,
        )


def fingerprint_of(files: list[Path]) -> str:
    """Return one hash of the content of all files, in the order of their names."""
    digest = hashlib.sha256()
    for path in sorted(files):
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
