"""Add camera moves to some clips, so that motion modules know moving cameras.

Stock footage is full of pans and zooms, and a MotionLoRA (arXiv 2307.04725, Sec. 4.3) can select
one of them. Clips from a fixed camera teach no such thing. Here a share of them gets a synthetic
camera move, and the caption names it, so that prompts without a camera move do not get one.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from animatediff.data.camera import PATTERNS, WORDS
from animatediff.data.footage import EncodedFootage, Footage
from animatediff.errors import InputError
from animatediff.training.lessons.clips import TrainingData, film


@dataclass(frozen=True)
class NowAndThenFilmed:
    """The same clips with and without a moving camera.

    Attributes:
        still: the unchanged clips.
        filmed: the clips with each of ``PATTERNS``, in that order.
        share: how often a camera moves, from 0 to 1.
    """

    still: TrainingData
    filmed: tuple[TrainingData, ...]
    share: float

    def __len__(self) -> int:
        return len(self.still)

    def footage(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Footage | EncodedFootage:
        """Return the clip unchanged, or with a random camera move that its caption names."""
        if float(torch.rand((), generator=generator)) >= self.share:
            return self.still.footage(index, num_frames=num_frames, generator=generator)
        chosen = int(torch.randint(len(PATTERNS), (), generator=generator))
        seen = self.filmed[chosen].footage(index, num_frames=num_frames, generator=generator)
        return seen.called(f"{seen.caption}, {WORDS[PATTERNS[chosen]]}")

    def fingerprint(self) -> str:
        """Return a hash of the clips, every move and the share."""
        facts = [str(self.share), *(clips.fingerprint() for clips in (self.still, *self.filmed))]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def now_and_then_filmed(clips: TrainingData, share: float) -> TrainingData:
    """Add a camera move to a share of the clips' windows.

    Raises:
        InputError: the share is not from 0 to 1, or the clips are encoded.
    """
    if not 0 <= share <= 1:
        raise InputError(
            f"--moving-camera must be from 0 to 1, not {share:g}; use for example 0.3 for three "
            "of ten clips."
        )
    if not share:
        return clips
    filmed = tuple(film(clips, pattern, option="--moving-camera") for pattern in PATTERNS)
    return NowAndThenFilmed(clips, filmed, share)
