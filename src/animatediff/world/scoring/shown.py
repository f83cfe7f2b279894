"""Whether frames show their prompt: the text score, and the concept recognised in each frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import UInt8

from animatediff.evaluation.similarity import text_score
from animatediff.world.scoring.scorer import Scorer

Frames = UInt8[np.ndarray, "frames height width 3"]


class Asked(Protocol):
    """The content that a prompt names."""

    @property
    def hexcode(self) -> str:
        """The concept."""
        ...

    @property
    def prompt(self) -> str:
        """The prompt."""
        ...


@dataclass(frozen=True)
class Shown:
    """What the scorer sees of an animation.

    Attributes:
        text: text score.
        shows: for each frame, whether the concept is among the scorer's first five.
    """

    text: float
    shows: tuple[bool, ...]


def shown_in(frames: Frames, *, subject: Asked, scorer: Scorer) -> Shown:
    """Return what the scorer sees of an animation of a subject."""
    judgement = scorer.judge(frames)
    words = scorer.embed_text([subject.prompt])[0]
    shows = judgement.shows(scorer.index_of(subject.hexcode))
    return Shown(text_score(judgement.embeddings, words), tuple(bool(each) for each in shows))
