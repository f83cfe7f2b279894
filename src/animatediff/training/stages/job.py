"""A stage that is ready to run: what is trained, how it is saved, and what identifies the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from torch import Tensor

from animatediff.training.lessons.lesson import Lesson
from animatediff.training.stages.frozen_model import FrozenModel
from animatediff.weights.families import Betas


@dataclass(frozen=True)
class Job:
    """A prepared stage: its lesson, and how its result is saved.

    Attributes:
        lesson: for the trainer.
        save: writes the trained weights; returns the path.
        facts: what identifies the run; a run with other facts is not resumed.
        frozen: the image model beneath, with which validation clips are drawn.
        betas: the noise schedule to draw with, where it is not the image model's own.
    """

    lesson: Lesson
    save: Callable[[dict[str, Tensor]], Path]
    facts: Mapping[str, str] = field(default_factory=lambda: cast(dict[str, str], {}))
    frozen: FrozenModel | None = None
    betas: Betas | None = None
