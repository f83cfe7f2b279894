"""The rows that personalise: to a style the base never saw, or to a handful of one's own pictures.

A LoRA (arXiv 2106.09685), DreamBooth with prior preservation (arXiv 2208.12242) and textual inversion
(arXiv 2208.01618) make the image models that motion modules then move (Sec. 5).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from jaxtyping import Int
from torch import Tensor, nn

from animatediff.errors import InputError, OutputError, reason_of
from animatediff.model.low_rank import LowRankSet, attention_projections
from animatediff.runtime import channels_last
from animatediff.training.lessons.clips import ClipBatch, ClipLesson, ReadClips, TrainingData
from animatediff.training.lessons.denoising import DenoisingLesson, frame_by_frame
from animatediff.training.lessons.lesson import Lesson, TrainOptions
from animatediff.training.lessons.new_word import spelled, teach_word
from animatediff.training.stages.paper import family_name, image_lesson
from animatediff.training.stages.prepared import Prepared
from animatediff.training.stages.setup import Captioned, Ground, Setup, read_ground, trainable
from animatediff.training.stages.write_weights import write_model, write_part
from animatediff.weights.storage.files import write_weights
from animatediff.world.art.clips import read_world_clips
from animatediff.world.stages.folder import (
    PREDICTION,
    STYLE,
    betas,
    image_model,
    read_text,
    read_unet,
)
from animatediff.world.stages.image_stages import read_still_latents
from animatediff.world.stages.latents import LatentClips, chosen

RANK = 16


def _style_stills(work: Path) -> LatentClips:
    stills = read_still_latents(work)
    return chosen(stills, (m["split"] == "train" and m["style"] == STYLE for m in stills.meta))


def prepare_lora(work: Path) -> Lesson:
    """A fresh LoRA on every attention of the frozen image model."""
    unet = channels_last(read_unet(image_model(work)).requires_grad_(False))
    torch.manual_seed(0)
    lora = LowRankSet(attention_projections(unet), rank=RANK)
    return DenoisingLesson(
        lora,
        frame_by_frame(unet),
        read_text(work),
        _style_stills(work),
        betas(),
        prediction=PREDICTION,
    )


def keep_lora(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the LoRA alone."""
    assert isinstance(lesson.learns, LowRankSet)
    path = work / "world" / "lora" / f"{STYLE}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"kind": "lora", "family": "emoji", "rank": str(RANK), "alpha": str(RANK)}
    return write_weights(path, {k: v.contiguous() for k, v in learned.items()}, metadata=facts)


def prepare_full(work: Path) -> Lesson:
    """The whole image U-Net, from its base weights."""
    unet = channels_last(read_unet(image_model(work)))
    return DenoisingLesson(
        unet,
        frame_by_frame(unet),
        read_text(work),
        _style_stills(work),
        betas(),
        prediction=PREDICTION,
    )


def keep_full(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the fine-tuned U-Net; the rest of the model is the base's."""
    lesson.learns.load_state_dict(learned)
    unet = cast(UNet2DConditionModel, lesson.learns)
    return write_model(work / "world" / f"emoji-{STYLE}" / "unet", unet)


FEW = 20
"""Pictures of the built-in world's held-out style to personalise on, as one has of one's own."""


def prepare_own_lora(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """A fresh LoRA on every attention of the image model."""
    ground = read_ground(setup, device=device)
    rank = setup.rank or RANK
    torch.manual_seed(0)
    lora = LowRankSet(attention_projections(ground.base.unet), rank=rank)
    facts = {"family": family_name(setup), "rank": str(rank), "alpha": str(rank)}
    path = setup.output or setup.work / "world" / "lora" / "personal.safetensors"
    return Prepared(
        image_lesson(ground, trainable(lora), ReadClips(_pictures(ground), 1, setup.variations)),
        lambda learned: write_part(path, learned, kind="lora", options=options, facts=facts),
        ground.facts,
        ground,
    )


def prepare_dreambooth(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """The whole image U-Net, kept from forgetting by pictures of the class in general.

    Raises:
        InputError: those pictures have no caption, or the model is a single file.
    """
    del options
    # What learns is not kept in half precision.
    ground = read_ground(replace(setup, precision="fp32"), device=device)
    if "vae" not in ground.base.files:
        raise InputError("DreamBooth writes a diffusers folder, and so it needs one as --model.")
    unet = ground.base.unet
    trainable(unet)
    lesson: Lesson = image_lesson(ground, unet, ReadClips(_pictures(ground), 1, setup.variations))
    if setup.class_data is not None:
        if setup.class_caption is None:
            raise InputError("Say what the pictures of --class-data show, with --class-caption.")
        general = ground.own_data(setup.class_data, stills=True, whole=True)
        ground.facts["class_data"] = general.fingerprint()
        data = ReadClips(Captioned(general, setup.class_caption), 1)
        assert isinstance(lesson, ClipLesson)
        lesson = PriorLesson(lesson, image_lesson(ground, unet, data), setup.prior)
    return Prepared(lesson, lambda learned: _keep_model(ground, learned), ground.facts, ground)


def prepare_inversion(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """A new word, in captions that hold it.

    Raises:
        InputError: no word, or a caption without it, was given.
    """
    if not setup.word or not setup.like:
        raise InputError(
            "Textual inversion needs --word, such as <my-dog>, and --like, such as dog."
        )
    ground = read_ground(setup, device=device)
    base = ground.base
    word = teach_word(
        base.tokenizer, base.text_encoder, setup.word, like=setup.like, count=setup.words
    )
    caption = setup.caption or f"a picture of {setup.word}"
    if setup.word not in caption:
        raise InputError(f"The caption {caption!r} does not hold the word {setup.word}.")
    pictures = Captioned(_pictures(ground), spelled(caption, setup.word, setup.words))
    facts = {"family": family_name(setup), "word": setup.word}
    name = "".join(c for c in setup.word if c.isalnum() or c in "-_") or "word"
    path = setup.output or setup.work / "world" / "embedding" / f"{name}.safetensors"
    return Prepared(
        image_lesson(ground, trainable(word), ReadClips(pictures, 1, setup.variations)),
        lambda learned: write_part(path, learned, kind="embedding", options=options, facts=facts),
        ground.facts,
        ground,
    )


@dataclass(frozen=True)
class ReadBoth:
    """Reads pictures of one's own, and as many of the class in general."""

    own: ReadClips
    general: ReadClips

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


def _pictures(ground: Ground) -> TrainingData:
    setup = ground.setup
    if setup.data is not None:
        return ground.data(stills=True)
    stills = read_world_clips(
        setup.work / "stills" / STYLE,
        size=ground.size,
        first=setup.first_clip,
        count=setup.clips or FEW,
    )
    ground.facts["data"] = stills.fingerprint()
    return stills if setup.caption is None else Captioned(stills, setup.caption)


def _keep_model(ground: Ground, learned: dict[str, Tensor]) -> Path:
    """A model folder whose U-Net was learned, and whose other parts are the base's own files."""
    setup, unet = ground.setup, ground.base.unet
    target = setup.output or setup.work / "world" / "personal"
    unet.load_state_dict(learned)
    try:
        write_model(target / "unet", unet)
        source = ground.base.files["vae"].parent.parent
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
