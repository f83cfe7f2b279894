"""What a stage uses where its options name no image model, motion modules or data.

The built-in world offers them (``world/stages/defaults.py``); training itself knows nothing of it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from animatediff.training.lessons.clips import TrainingData
from animatediff.video.preprocess import PreprocessName
from animatediff.weights.families import Family
from animatediff.weights.finding.model_folders import ModelFolder


class Defaults(Protocol):
    """An image model with its motion modules and data, all in one folder."""

    @property
    def family(self) -> Family:
        """The family of its motion modules."""
        ...

    @property
    def rank(self) -> int:
        """The rank of its adapter and MotionLoRAs."""
        ...

    def image_model(self, work: Path) -> ModelFolder:
        """The image model in a folder."""
        ...

    def motion(self, work: Path) -> Path:
        """The file of its motion modules."""
        ...

    def clips(
        self,
        work: Path,
        *,
        size: int,
        first: int,
        count: int | None,
        pattern: str | None,
        degraded: bool,
        pixels: bool,
        mix: tuple[str, ...] = (),
    ) -> TrainingData:
        """Its training clips.

        Args:
            work: the folder.
            size: pixels of a side.
            first: the index of the first clip.
            count: how many clips; all if ``None``.
            pattern: a camera move to apply to every clip.
            degraded: whether they look like stock footage.
            pixels: whether the clips are changed afterwards, so that stored latents will not do.
            mix: kinds of clips and their shares; the real clips alone if empty.
        """
        ...

    def pictures(self, work: Path, *, size: int, first: int, count: int | None) -> TrainingData:
        """Pictures of a style that the image model has not seen."""
        ...

    def hinted(self, work: Path, *, hint: PreprocessName) -> tuple[TrainingData, TrainingData]:
        """Pictures of every style, and their hints as pictures; the same draws give the same frames."""
        ...
