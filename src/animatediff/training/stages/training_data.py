"""The clips that a stage trains on: one's own, or those of the defaults, changed as the options say."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import torch

from animatediff.data.builds.clips import BuiltClips
from animatediff.data.clips import OwnClips
from animatediff.data.footage import EncodedFootage, Footage
from animatediff.errors import InputError
from animatediff.training.lessons.clips import Filmable, TrainingData, film
from animatediff.training.lessons.moving_camera import now_and_then_filmed
from animatediff.training.lessons.varied_appearance import varied_appearance
from animatediff.training.stages.frozen_model import FrozenModel
from animatediff.training.stages.option_groups import (
    AppearanceOptions,
    ClipOptions,
    DegradedOptions,
    InversionOptions,
    MixOptions,
    MotionModuleOptions,
    MovingCameraOptions,
)
from animatediff.training.stages.own_data import read_own_data, summary_of_bad
from animatediff.training.stages.stage_options import StageOptions


def read_training_data(
    frozen: FrozenModel, *, pattern: str | None = None, stills: bool = False
) -> TrainingData:
    """The clips that the options of a stage name, and what is known of them as facts and notes.

    Args:
        frozen: the image model; facts and notes of the clips are added to it.
        pattern: a camera move to apply to every clip.
        stills: whether single frames are trained on.

    Raises:
        InputError: there are no such clips, or an option does not fit them.
        FileError: too many clips are bad.
    """
    options = frozen.options
    asked = options.of(ClipOptions)
    degraded = options.of(DegradedOptions).degraded
    vary = options.of(AppearanceOptions).vary_appearance
    moving = options.of(MovingCameraOptions).moving_camera
    data: TrainingData
    if asked.data is not None and options.of(MixOptions).mix:
        raise InputError(
            "--mix chooses among the built-in world's clips, and --data names other clips; leave one "
            "of them out."
        )
    if asked.data is not None:
        if degraded:
            raise InputError(
                "--degraded gives the built-in world's clips the look of stock footage, and --data "
                "names other clips; leave one of them out."
            )
        data = read_own_clips(frozen, asked.data, pattern=pattern, stills=stills)
    else:
        data = default_clips(
            frozen, pattern=pattern, degraded=degraded, pixels=stills or vary or bool(moving)
        )
    data = now_and_then_filmed(data, moving)
    if vary:
        data = varied_appearance(data, stills=stills)
    return captioned(frozen, data)


def read_pictures(frozen: FrozenModel) -> TrainingData:
    """The pictures to personalise on.

    Raises:
        InputError: there are none.
        FileError: too many are bad.
    """
    options = frozen.options
    asked = options.of(ClipOptions)
    if asked.data is not None:
        return read_training_data(frozen, stills=True)
    if options.defaults is None:
        raise InputError("This stage needs pictures; pass their folder with --data.")
    pictures = options.defaults.pictures(
        options.work, size=frozen.size, first=asked.first_clip, count=asked.clips
    )
    return captioned(frozen, pictures)


def default_clips(
    frozen: FrozenModel, *, pattern: str | None, degraded: bool, pixels: bool
) -> TrainingData:
    """The clips of the stage's defaults.

    Raises:
        InputError: it has none.
    """
    options, asked = frozen.options, frozen.options.of(ClipOptions)
    if options.defaults is None:
        raise InputError("This stage needs clips; pass their folder with --data.")
    return options.defaults.clips(
        options.work,
        size=frozen.size,
        first=asked.first_clip,
        count=asked.clips,
        pattern=pattern,
        degraded=degraded,
        pixels=pixels or not frozen.is_default or frozen.size != frozen.own_size,
        mix=options.of(MixOptions).mix,
    )


def read_own_clips(
    frozen: FrozenModel,
    data: Path,
    *,
    pattern: str | None = None,
    stills: bool = False,
    whole: bool = False,
) -> OwnClips | BuiltClips:
    """The clips of a folder, table, archive or build, as ``read_own_data`` reads them."""
    options = frozen.options
    clips = read_own_data(
        data,
        options.of(ClipOptions),
        records=options.work / "data",
        num_frames=1 if stills else options.of(MotionModuleOptions).frames,
        size=frozen.size,
        files=frozen.base.files,
        pattern=pattern,
        whole=whole,
        uses_captions=not whole and _uses_captions(options),
    )
    frozen.notes += clips.notes
    if isinstance(clips, OwnClips):
        frozen.facts["class_set_aside" if whole else "set_aside"] = summary_of_bad(clips.bad)
    return clips


def _uses_captions(options: StageOptions) -> bool:
    """Whether the clips' own captions are trained on, and not one that stands for all."""
    return options.of(ClipOptions).caption is None and options.of(InversionOptions).word is None


def captioned(frozen: FrozenModel, data: TrainingData) -> TrainingData:
    """The clips under the one caption that the options give, if they give one."""
    frozen.facts["data"] = data.fingerprint()
    caption = frozen.options.of(ClipOptions).caption
    return data if caption is None else Captioned(data, caption)


@dataclass(frozen=True)
class Captioned:
    """Clips that all have the same caption."""

    data: TrainingData
    caption: str

    def __len__(self) -> int:
        return len(self.data)

    def footage(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Footage | EncodedFootage:
        """The clip, with the one caption."""
        seen = self.data.footage(index, num_frames=num_frames, generator=generator)
        return seen.called(self.caption)

    def filmed(self, pattern: str) -> Captioned:
        """The same clips with a camera move, under the same caption."""
        return Captioned(film(self.data, pattern, option="--scales"), self.caption)

    def with_starts(self, *, fixed: bool) -> Captioned:
        """The same clips, each window from the beginning of its clip or from anywhere."""
        assert isinstance(self.data, Filmable), "appearance is varied before captions are replaced"
        return Captioned(self.data.with_starts(fixed=fixed), self.caption)

    def fingerprint(self) -> str:
        """A hash of the clips and the caption."""
        return hashlib.sha256(f"{self.data.fingerprint()} {self.caption}".encode()).hexdigest()
