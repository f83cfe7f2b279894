"""Clips that a camera films now and then, so that motion modules know that cameras move.

Stock footage is full of pans and zooms, and motion modules that learned from it can be led to one by a
MotionLoRA (arXiv 2307.04725, Sec. 4.3). Clips from a camera that never moves teach no such thing; here
a share of them is filmed by rule, and the caption tells how, so that whoever does not ask for a moving
camera does not get one.
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
        still: as they are.
        filmed: by each of ``PATTERNS``, in that order.
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
        """The clip as it is, or filmed by a pattern drawn from all, which its caption then tells."""
        if float(torch.rand((), generator=generator)) >= self.share:
            return self.still.footage(index, num_frames=num_frames, generator=generator)
        chosen = int(torch.randint(len(PATTERNS), (), generator=generator))
        seen = self.filmed[chosen].footage(index, num_frames=num_frames, generator=generator)
        return seen.called(f"{seen.caption}, {WORDS[PATTERNS[chosen]]}")

    def fingerprint(self) -> str:
        """Of the clips, of every move and of how often there is one."""
        facts = [str(self.share), *(clips.fingerprint() for clips in (self.still, *self.filmed))]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def now_and_then_filmed(clips: TrainingData, share: float) -> TrainingData:
    """The clips with a camera that moves over a share of their windows.

    Raises:
        InputError: the share is not from 0 to 1, or the clips are encoded and cannot be filmed.
    """
    if not 0 <= share <= 1:
        raise InputError(
            f"A camera moves over a share of the clips, from 0 to 1, and not {share:g}; give "
            "--moving-camera 0.3 for three in ten."
        )
    if not share:
        return clips
    filmed = tuple(film(clips, pattern, option="--moving-camera") for pattern in PATTERNS)
    return NowAndThenFilmed(clips, filmed, share)
