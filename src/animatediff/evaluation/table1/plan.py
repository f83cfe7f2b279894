"""What Table 1 compares, as a value: personalised models, prompts, driving clips and settings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from animatediff.config import load_toml
from animatediff.errors import FileError, InputError
from animatediff.options.checks import check_integer, check_number
from animatediff.sampling.options.guidance import MAX_GUIDANCE
from animatediff.sampling.options.output import MAX_FPS
from animatediff.sampling.options.sampler import MAX_STEPS

ZERO, TUNE, OURS = "Text2Video-Zero", "Tune-A-Video", "AnimateDiff"
METHODS = (ZERO, TUNE, OURS)
"""In the order of the paper's table."""
CARRIED = "AnimateDiff-carried"
"""AnimateDiff with ``--carry 1``: its motion moves one still, as by default in the built-in model."""
DRAWN = (*METHODS, CARRIED)
"""Everything that can be drawn here."""


@dataclass(frozen=True)
class Personal:
    """A personalised image model and its prompts.

    Attributes:
        name: in tables.
        prompts: its prompts, with its trigger words.
        model: a name that ``animatediff models`` lists, a file or a folder.
        motion: the motion module that AnimateDiff adds.
        loras: NAME:SCALE each.
        embeddings: textual inversions.
        negative: negative prompt of all methods.
        driving: number of the driving clip of each prompt, from 0; by default, prompts are spread
            evenly over the clips, neighbours together.
    """

    name: str
    prompts: tuple[str, ...]
    model: str = "emoji"
    motion: str = "emoji"
    loras: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    negative: str = ""
    driving: tuple[int, ...] = ()

    def clip_numbers(self, clips: int) -> tuple[int, ...]:
        """Return the number of the driving clip of each prompt, of ``clips`` clips."""
        count = len(self.prompts)
        return self.driving or tuple(index * clips // count for index in range(count))


@dataclass(frozen=True)
class Driving:
    """A clip that Tune-A-Video is tuned on.

    Attributes:
        file: the clip.
        caption: what it shows.
    """

    file: str
    caption: str


@dataclass(frozen=True)
class Settings:
    """How the methods draw; what the baselines' authors use by default.

    Attributes:
        num_frames: of every method.
        fps: frames a second of every method.
        seed: all seeds are derived from it.
        references: pictures that the personalised model draws of each prompt, for *domain*.
        steps: AnimateDiff's denoising steps; 0 takes the model's own.
        guidance: AnimateDiff's guidance scale; 0 takes the model's own.
        zero_steps: DDIM steps of Text2Video-Zero.
        zero_t0: the step, from the end, at which Text2Video-Zero shifts the first frame.
        zero_t1: the step, from the end, up to which the shifted frames are noised.
        zero_guidance: its guidance scale.
        zero_flow: its flow in pixels of a 512 x 512 picture.
        tune_train_steps: steps of Tune-A-Video's fine-tuning.
        tune_learning_rate: its learning rate.
        tune_steps: its DDIM steps, of the inversion and of drawing.
        tune_guidance: its guidance scale.
    """

    num_frames: int = 16
    fps: int = 8
    seed: int = 0
    references: int = 8
    steps: int = 0
    guidance: float = 0.0
    zero_steps: int = 50
    zero_t0: int = 44
    zero_t1: int = 47
    zero_guidance: float = 7.5
    zero_flow: tuple[float, float] = (12.0, 12.0)
    tune_train_steps: int = 500
    tune_learning_rate: float = 3e-5
    tune_steps: int = 50
    tune_guidance: float = 12.5

    def check_numbers(self) -> None:
        """Raise if a number would stop a comparison in its middle.

        Raises:
            InputError: one is out of range.
        """
        check_integer("fps", self.fps, least=1, most=MAX_FPS)
        check_integer("steps", self.steps, least=0, most=MAX_STEPS)
        check_integer("zero_steps", self.zero_steps, least=2, most=MAX_STEPS)
        check_integer("tune_train_steps", self.tune_train_steps, least=1, most=None)
        check_integer("tune_steps", self.tune_steps, least=1, most=MAX_STEPS)
        for name in ("guidance", "zero_guidance", "tune_guidance"):
            check_number(name, getattr(self, name), least=0, most=MAX_GUIDANCE)
        for shift in self.zero_flow:
            check_number("zero_flow", shift, least=None, most=None)


@dataclass(frozen=True)
class Item:
    """One prompt of one model.

    Attributes:
        model: the personalised model.
        index: the prompt's number within the model.
        prompt: the prompt.
        seed: the same for every method and for the same number in every model.
        clip: number of the driving clip.
    """

    model: str
    index: int
    prompt: str
    seed: int
    clip: int


@dataclass(frozen=True)
class Plan:
    """Everything that is compared.

    Attributes:
        models: the personalised models.
        clips: the driving clips. Unless a model says otherwise, prompts are grouped: with 30
            prompts and 10 clips, the first three prompts have the first clip, and so on.
        settings: how the methods draw.
    """

    models: tuple[Personal, ...]
    clips: tuple[Driving, ...]
    settings: Settings = Settings()

    def items(self) -> Iterator[Item]:
        """Return every prompt of every model, model by model and clip by clip."""
        for model in self.models:
            numbers = model.clip_numbers(len(self.clips))
            for index, (prompt, clip) in enumerate(zip(model.prompts, numbers, strict=True)):
                yield Item(model.name, index, prompt, seed_of(self.settings.seed, index), clip)

    def shortened(self, *, models: tuple[str, ...] = (), prompts: int | None = None) -> Plan:
        """Return the plan with only some models, or with the first prompts of each.

        Each prompt keeps its driving clip, so that work on the shorter plan counts for the whole
        one. Clips after the last one in use are left out.

        Raises:
            InputError: a model is not in the plan, or no prompt would be left.
        """
        known = [model.name for model in self.models]
        unknown = [name for name in models if name not in known]
        if unknown:
            raise InputError(f"There is no model {unknown[0]!r} in the plan, only {known}.")
        if prompts is not None and prompts < 1:
            raise InputError(f"{prompts} prompts leave nothing to compare; give 1 or more.")
        kept = tuple(
            replace(
                model,
                prompts=model.prompts[:prompts],
                driving=model.clip_numbers(len(self.clips))[:prompts],
            )
            for model in self.models
            if not models or model.name in models
        )
        used = max((number for model in kept for number in model.driving), default=-1)
        return replace(self, models=kept, clips=self.clips[: used + 1])

    def validated(self) -> Plan:
        """Return the plan if it can be carried out.

        Raises:
            InputError: something is missing or double.
            FileError: a driving clip is missing.
        """
        names = [model.name for model in self.models]
        if not names or not self.clips:
            raise InputError("Table 1 needs at least one personalised model and one driving clip.")
        if len(set(names)) != len(names):
            raise InputError("Two personalised models have the same name; rename one.")
        for model in self.models:
            if not model.prompts or not all(prompt.strip() for prompt in model.prompts):
                raise InputError(f"The model {model.name} has no prompts, or an empty one.")
            if len(set(model.prompts)) != len(model.prompts):
                raise InputError(f"The model {model.name} has the same prompt twice.")
            numbers = model.clip_numbers(len(self.clips))
            if len(numbers) != len(model.prompts):
                raise InputError(
                    f"The model {model.name} has {len(model.prompts)} prompts but driving clips for "
                    f"{len(numbers)}; give one number for each prompt, or none."
                )
            absent = [number for number in numbers if not 0 <= number < len(self.clips)]
            if absent:
                raise InputError(
                    f"The model {model.name} takes the driving clip {absent[0]}, but the plan's "
                    f"{len(self.clips)} clips are numbered from 0 to {len(self.clips) - 1}."
                )
        for clip in self.clips:
            if not Path(clip.file).exists():
                raise FileError(f"The driving clip {clip.file} does not exist.")
        if self.settings.num_frames < 2 or self.settings.references < 1:
            raise InputError("Table 1 needs at least two frames and one reference picture.")
        self.settings.check_numbers()
        return self


def seed_of(seed: int, index: int) -> int:
    """Return the seed of a prompt's number."""
    return int(hashlib.sha256(f"table1/{seed}/{index}".encode()).hexdigest()[:7], 16)


def read_plan(path: Path) -> Plan:
    """Read a plan from TOML. Driving clips may be relative to the file's folder.

    Raises:
        FileError, InputError: as ``load_toml``.
    """
    plan = load_toml(path, Plan)
    clips = tuple(replace(clip, file=str(path.parent / clip.file)) for clip in plan.clips)
    return replace(plan, clips=clips)
