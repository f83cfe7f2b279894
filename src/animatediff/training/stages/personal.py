"""The stages that personalise an image model: to a style, or to a handful of pictures.

A LoRA (arXiv 2106.09685), DreamBooth with prior preservation (arXiv 2208.12242) and textual inversion
(arXiv 2208.01618) make the image models that motion modules then animate (Sec. 5).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from animatediff.errors import InputError, OutputError, reason_of
from animatediff.model.grafts.low_rank import LowRankSet, attention_projections
from animatediff.training.lessons.clips import ClipBatch, ClipLesson, ReadBatch, ReadClips
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.lessons.new_word import spelled, teach_word
from animatediff.training.recipe import Recipe
from animatediff.training.stages.frozen_model import FrozenModel, read_frozen_model, trainable
from animatediff.training.stages.job import Job
from animatediff.training.stages.option_groups import (
    ClipOptions,
    DreamBoothOptions,
    InversionOptions,
    LowRankOptions,
)
from animatediff.training.stages.paper import image_lesson, read_clips
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.training_data import Captioned, read_own_clips, read_pictures
from animatediff.training.stages.write_weights import write_model, write_part

RANK = 16


def prepare_lora(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A new LoRA on every attention of the image model."""
    frozen = read_frozen_model(options, device=device)
    rank = options.of(LowRankOptions).rank or RANK
    torch.manual_seed(0)
    lora = LowRankSet(attention_projections(frozen.base.unet), rank=rank)
    facts = {"family": frozen.family_name, "rank": str(rank), "alpha": str(rank)}
    path = options.output or options.work / "world" / "lora" / "personal.safetensors"
    data = read_clips(options, read_pictures(frozen), num_frames=1)
    return Job(
        image_lesson(frozen, trainable(lora), data),
        lambda learned: write_part(path, learned, kind="lora", options=recipe, facts=facts),
        frozen.facts,
        frozen,
    )


def prepare_dreambooth(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """The whole image U-Net, kept from forgetting by pictures of the class in general.

    Raises:
        InputError: those pictures have no caption, or the model is a single file.
    """
    del recipe
    # What is trained is not stored in half precision.
    frozen = read_frozen_model(replace(options, precision="fp32"), device=device)
    if "vae" not in frozen.base.files:
        raise InputError(
            "DreamBooth writes a diffusers folder, so it cannot start from a single file; pass a "
            "diffusers folder with --model."
        )
    unet = frozen.base.unet
    trainable(unet)
    own = image_lesson(frozen, unet, read_clips(options, read_pictures(frozen), num_frames=1))
    lesson: Lesson = own
    asked = options.of(DreamBoothOptions)
    if asked.class_data is not None:
        if asked.class_caption is None:
            raise InputError("--class-data needs a caption of its pictures; add --class-caption.")
        general = read_own_clips(frozen, asked.class_data, stills=True, whole=True)
        frozen.facts["class_data"] = general.fingerprint()
        data = ReadClips(Captioned(general, asked.class_caption), 1)
        lesson = PriorLesson(own, image_lesson(frozen, unet, data), asked.prior)
    return Job(lesson, lambda learned: _save_model(frozen, learned), frozen.facts, frozen)


def prepare_inversion(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """A new word, in captions that contain it.

    Raises:
        InputError: no word, or a caption without it, was given.
    """
    asked = options.of(InversionOptions)
    if not asked.word or not asked.like:
        raise InputError(
            "Textual inversion needs --word, such as <my-dog>, and --like, such as dog."
        )
    frozen = read_frozen_model(options, device=device)
    base = frozen.base
    word = teach_word(
        base.tokenizer, base.text_encoder, asked.word, like=asked.like, count=asked.words
    )
    caption = options.of(ClipOptions).caption or f"a picture of {asked.word}"
    if asked.word not in caption:
        raise InputError(
            f"The caption {caption!r} does not contain the word {asked.word}; add the word to "
            "--caption."
        )
    pictures = Captioned(read_pictures(frozen), spelled(caption, asked.word, asked.words))
    facts = {"family": frozen.family_name, "word": asked.word}
    name = "".join(c for c in asked.word if c.isalnum() or c in "-_") or "word"
    path = options.output or options.work / "world" / "embedding" / f"{name}.safetensors"
    return Job(
        image_lesson(frozen, trainable(word), read_clips(options, pictures, num_frames=1)),
        lambda learned: write_part(path, learned, kind="embedding", options=recipe, facts=facts),
        frozen.facts,
        frozen,
    )


@dataclass(frozen=True)
class ReadBoth:
    """Reads pictures of one's own, and as many of the class in general."""

    own: ReadBatch
    general: ReadBatch

    def __call__(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> tuple[ClipBatch, ClipBatch]:
        """One's own of these numbers, and others drawn at random."""
        others = torch.randint(len(self.general.data), indices.shape, generator=generator)
        return self.own(indices, generator), self.general(others, generator)


@dataclass
class PriorLesson:
    """DreamBooth: learn a few pictures, and go on drawing the class as before (arXiv 2208.12242).

    Attributes:
        own: of one's own pictures.
        general: of pictures of the class.
        weight: of the second.
    """

    own: ClipLesson
    general: ClipLesson
    weight: float

    def __post_init__(self) -> None:
        self.learns: nn.Module = self.own.learns
        self.size = self.own.size
        self.fetch: Callable[..., tuple[ClipBatch, ClipBatch]] = ReadBoth(
            self.own.fetch, self.general.fetch
        )

    def losses(
        self, batch: tuple[ClipBatch, ClipBatch], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The loss of one's own pictures, and of the others by its weight."""
        own = self.own.losses(batch[0], generator)
        prior = self.general.losses(batch[1], generator)["loss"]
        return {**own, "loss": own["loss"] + self.weight * prior, "prior": prior}


def _save_model(frozen: FrozenModel, learned: dict[str, Tensor]) -> Path:
    """Write a model folder: the trained U-Net, and the other parts as the base model has them."""
    unet = frozen.base.unet
    target = frozen.options.output or frozen.options.work / "world" / "personal"
    unet.load_state_dict(learned)
    try:
        write_model(target / "unet", unet)
        source = frozen.base.files["vae"].parent.parent
        for part in ("vae", "text_encoder", "tokenizer", "scheduler", "model_index.json"):
            _copied(source / part, target / part)
    except OSError as error:
        raise OutputError(f"{target} cannot be written ({reason_of(error)}).") from None
    return target


def _copied(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, target)
