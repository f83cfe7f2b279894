"""A stage that is ready to run: its lesson, how its result is kept, and what makes it what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from torch import Tensor

from animatediff.data.shards import fingerprint_of
from animatediff.training.lessons.lesson import Lesson

if TYPE_CHECKING:
    from animatediff.training.stages.setup import Ground
    from animatediff.weights.families import Betas


def world_facts(work: Path, *kinds: str) -> dict[str, str]:
    """What a row of the built-in world learns from, ``stills`` or ``clips``, as it was rendered."""
    return {kind: fingerprint_of(work / kind) for kind in kinds}


@dataclass(frozen=True)
class Prepared:
    """A lesson and what becomes of it.

    Attributes:
        lesson: for the trainer.
        keep: stores what was learned; returns where.
        facts: a run with others is not resumed.
        ground: the image model beneath, for those who want to draw with it.
        betas: the noise to draw with, where it is not the image model's own.
    """

    lesson: Lesson
    keep: Callable[[dict[str, Tensor]], Path]
    facts: Mapping[str, str] = field(default_factory=lambda: cast(dict[str, str], {}))
    ground: Ground | None = None
    betas: Betas | None = None
