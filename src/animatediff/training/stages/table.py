"""The training recipe as a table: what each stage learns, from what, and what it leaves behind.

Every stage runs in the same loop (``trainer.train``). The first rows make the built-in world's image
model; the others are the paper's (arXiv 2307.04725, Sec. 4.4), and Sec. 5's personalised models.

A world folder holds what stages read and leave::

    stills/ clips/                     rendered art (``animatediff dataset emoji``)
    world/emoji/                       the image model, a diffusers folder
    world/emoji-noto/unet/             a full fine-tune of its U-Net
    world/motion/*.safetensors         motion modules, and their convolutional rival
    world/lora/noto.safetensors        a LoRA
    world/adapter/emoji.safetensors    a domain adapter
    world/motion-lora/*.safetensors    MotionLoRAs, one for each pattern
    runs/<stage>/                      checkpoints and metrics
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.training.lessons.lesson import Lesson, TrainOptions
from animatediff.training.stages import paper, personal
from animatediff.training.stages.prepared import Prepared, world_facts
from animatediff.training.stages.setup import Setup
from animatediff.world.stages import image_stages, motion_stages, text_stage, upscaler

Prepare = Callable[[Setup, TrainOptions, torch.device], Prepared]


@dataclass(frozen=True)
class Stage:
    """One row: what learns from what, how it is made ready, and how it is trained if not told."""

    learns: str
    prepare: Prepare
    options: TrainOptions


def world(
    prepare: Callable[[Path], Lesson],
    keep: Callable[[Path, Lesson, dict[str, Tensor]], Path],
    *,
    kinds: tuple[str, ...] = ("stills",),
) -> Prepare:
    """A row of the built-in world alone, which needs nothing but its folder.

    Args:
        prepare: makes the lesson ready.
        keep: stores what was learned.
        kinds: the art that is learned from, ``stills`` or ``clips``.
    """

    def made_ready(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
        del options, device
        _refuse(setup, but=frozenset())
        lesson = prepare(setup.work)
        return Prepared(
            lesson,
            lambda learned: keep(setup.work, lesson, learned),
            world_facts(setup.work, *kinds),
        )

    return made_ready


_OF_SOME = frozenset(
    "adapter pattern scales layers start moving_camera degraded vary_appearance debias word like words "
    "class_data class_caption prior".split()
)
"""What only some of the rows that also learn from one's own data can be told."""


def reading(names: str, prepare: Prepare) -> Prepare:
    """A row that learns from the world or from one's own data, and reads these of ``_OF_SOME``."""
    read = frozenset(names.split())

    def made_ready(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
        unread = _told(setup) & (_OF_SOME - read)
        if unread:
            raise InputError(f"This stage has no use for {_listed(unread)}; leave it out.")
        return prepare(setup, options, device)

    return made_ready


_MOTION = frozenset({"motion", "mix", "num_frames", "output"})
"""What the rows that learn motion from the world's encoded clips can be told."""


def prepare_motion(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """The motion modules: on the world's own clips, encoded once, or on what the setup names."""
    if _told(setup) - _MOTION:
        return paper.prepare_motion(setup, options, device)
    return motion_stages.prepare_transformer(setup, options, device)


def prepare_motion_longer(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """The same, from the motion modules that the world has."""
    return prepare_motion(motion_stages.from_the_worlds_own(setup), options, device)


def prepare_convolution(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """The convolutional rival, on the world's own clips alone."""
    _refuse(setup, but=_MOTION)
    return motion_stages.prepare_convolution(setup, options, device)


def _told(setup: Setup) -> frozenset[str]:
    """The fields of a setup that are not as if left out; any stage has a precision."""
    plain = Setup(setup.work, precision=setup.precision)
    names = (field.name for field in fields(Setup))
    return frozenset(name for name in names if getattr(setup, name) != getattr(plain, name))


def _refuse(setup: Setup, *, but: frozenset[str]) -> None:
    """Refuse what a row of the built-in world would have to ignore.

    Raises:
        InputError: something else than its folder was given.
    """
    told = _told(setup) - but
    if told:
        raise InputError(
            "This stage makes a part of the built-in world from the world folder alone; "
            f"leave out {_listed(told)}."
        )


def _listed(names: frozenset[str]) -> str:
    words = {"num_frames": "frames"}
    return ", ".join(f"--{words.get(name, name).replace('_', '-')}" for name in sorted(names))


STAGES: dict[str, Stage] = {
    "text-encoder": Stage(
        "a small CLIP text model, from a sentence model's embeddings",
        world(text_stage.prepare, text_stage.keep, kinds=("stills", "clips")),
        TrainOptions(steps=3500, batch_size=256, learning_rate=1e-3, ema_decay=0.998),
    ),
    "autoencoder": Stage(
        "the latent space",
        world(image_stages.prepare_autoencoder, image_stages.keep_autoencoder),
        TrainOptions(steps=1500, batch_size=8, learning_rate=1e-3, ema_decay=0.995),
    ),
    "decoder": Stage(
        "sharper pictures from the same latents",
        world(image_stages.prepare_decoder, image_stages.keep_decoder),
        TrainOptions(steps=6000, batch_size=8, learning_rate=7e-4, ema_decay=0.995),
    ),
    "upscaler": Stage(
        "a small network that enlarges frames four times, from vector art at both sizes",
        world(upscaler.prepare, upscaler.keep),
        TrainOptions(steps=4000, batch_size=8, learning_rate=1e-3, ema_decay=0.995),
    ),
    "image": Stage(
        "the image model, from captioned stills (Eq. 2)",
        world(image_stages.prepare_image, image_stages.keep_image),
        TrainOptions(steps=4200, batch_size=32, learning_rate=7e-4, optimizer="muon"),
    ),
    "image-longer": Stage(
        "the image model from the weights it has, and its text encoder with it",
        world(image_stages.prepare_longer, image_stages.keep_longer),
        TrainOptions(steps=20000, batch_size=32, learning_rate=5e-4, optimizer="muon"),
    ),
    "motion": Stage(
        "the motion modules, from clips, with the image model frozen (Sec. 4.2, Eq. 5)",
        reading("adapter moving_camera degraded debias", prepare_motion),
        TrainOptions(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
    ),
    "motion-longer": Stage(
        "the motion modules from the weights they have, for as long as there is time",
        reading("adapter moving_camera degraded debias", prepare_motion_longer),
        TrainOptions(steps=4000, batch_size=2, learning_rate=5e-4, optimizer="muon"),
    ),
    "motion-convolution": Stage(
        "the convolutional rival of the motion modules (Sec. 5.3)",
        prepare_convolution,
        TrainOptions(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
    ),
    "noto-lora": Stage(
        "a LoRA of a style that the base never saw",
        world(personal.prepare_lora, personal.keep_lora),
        TrainOptions(steps=300, batch_size=32, learning_rate=1e-3),
    ),
    "noto-full": Stage(
        "a full fine-tune to that style",
        world(personal.prepare_full, personal.keep_full),
        TrainOptions(steps=300, batch_size=32, learning_rate=3e-4, optimizer="muon"),
    ),
    "domain-adapter": Stage(
        "a LoRA on the image model's attention that absorbs how the videos look (Sec. 4.1, Eq. 2)",
        reading("degraded vary_appearance", paper.prepare_domain_adapter),
        TrainOptions(steps=2000, batch_size=16, learning_rate=5e-4),
    ),
    "motion-lora": Stage(
        "a LoRA on the motion modules: a new motion from few clips (Sec. 4.3)",
        reading(
            "adapter pattern scales layers start degraded vary_appearance debias",
            paper.prepare_motion_lora,
        ),
        TrainOptions(steps=600, batch_size=2, learning_rate=1e-3, warmup=50, ema_decay=0.99),
    ),
    "personalise-lora": Stage(
        "a LoRA on the image model, from a handful of pictures",
        reading("", personal.prepare_own_lora),
        TrainOptions(steps=400, batch_size=4, learning_rate=5e-4, warmup=20, ema_decay=0.99),
    ),
    "personalise-dreambooth": Stage(
        "the whole image model, from a handful of pictures, kept by pictures of their class",
        reading("class_data class_caption prior", personal.prepare_dreambooth),
        TrainOptions(steps=400, batch_size=4, learning_rate=5e-5, warmup=20, ema_decay=0.99),
    ),
    "personalise-inversion": Stage(
        "a new word, from a handful of pictures",
        reading("word like words", personal.prepare_inversion),
        TrainOptions(
            steps=1000,
            batch_size=4,
            learning_rate=5e-3,
            warmup=20,
            schedule="constant",
            weight_decay=0.0,
            ema_decay=0.99,
        ),
    ),
}


def stage_named(name: str) -> Stage:
    """The row of that name.

    Raises:
        InputError: there is none.
    """
    if name not in STAGES:
        raise InputError(f"There is no training stage {name!r}; choose one of {', '.join(STAGES)}.")
    return STAGES[name]
