"""What training stages use where no model and no data are given: the built-in world in its folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from animatediff.errors import FileError, InputError
from animatediff.training.lessons.clips import TrainingData
from animatediff.video.preprocess import PreprocessName
from animatediff.weights.families import FAMILIES, Family
from animatediff.weights.finding.model_folders import ModelFolder
from animatediff.world.art.clips import read_world_clips
from animatediff.world.art.degraded import Degradation
from animatediff.world.stages.folder import STYLE, image_model
from animatediff.world.stages.hints import hinted_pictures
from animatediff.world.stages.moving_art import training_clips

MARGIN = 0.35
"""How far a camera may leave the built-in world's pictures, which lie on white."""

FEW = 20
"""Pictures of the held-out style to personalise on, as few as a user has."""


@dataclass(frozen=True)
class WorldDefaults:
    """The built-in world's image model, motion modules and clips."""

    rank: int = 16

    @property
    def family(self) -> Family:
        """The family of its motion modules."""
        return FAMILIES["emoji"]

    def image_model(self, work: Path) -> ModelFolder:
        """The image model in a folder."""
        return ModelFolder("emoji", image_model(work))

    def motion(self, work: Path) -> Path:
        """The file of its motion modules."""
        return work / "world" / "motion" / "emoji.safetensors"

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
        """Its training clips: as stored latents where they are used as they are, or as pixels.

        Raises:
            InputError: ``mix`` is not understood, or the clips are needed as pixels.
        """
        if not (pixels or degraded or pattern is not None or first or count is not None):
            mixture = training_clips(work, mix)
            return mixture if mix else mixture.clips
        if mix:
            raise InputError(
                "--mix trains on stored latents, and another option changes the clips' pixels, number "
                "or image model; leave --mix out, or --degraded, --moving-camera, --clips, --size and "
                "--model."
            )
        return read_world_clips(
            work / "clips",
            size=size,
            first=first,
            count=count,
            pattern=pattern,
            margin=MARGIN,
            degradation=Degradation() if degraded else None,
        )

    def hinted(self, work: Path, *, hint: PreprocessName) -> tuple[TrainingData, TrainingData]:
        """Stills of every style and single frames of clips, and their hints."""
        return hinted_pictures(work, hint=hint)

    def pictures(self, work: Path, *, size: int, first: int, count: int | None) -> TrainingData:
        """Pictures of the style that the image model has not seen."""
        return read_world_clips(work / "stills" / STYLE, size=size, first=first, count=count or FEW)


def existing_motion(work: Path) -> Path:
    """The file of the world's motion modules.

    Raises:
        FileError: they have not been trained yet.
    """
    path = WorldDefaults().motion(work)
    if not path.is_file():
        raise FileError(f"{path} is not there yet; run the stage motion first, or give --motion.")
    return path
