"""The training recipe as a table: what each stage learns, from what, and what it leaves behind.

Every stage runs in the same loop (``trainer.train``). The first rows make the built-in world's image
model; the others are the paper's (arXiv 2307.04725, Sec. 4.4), and Sec. 5's personalised models.

A world folder holds what stages read and leave::

    stills/ clips/                     rendered art (``animatediff dataset emoji``)
    world/emoji/                       the image model, a diffusers folder
    world/emoji-noto/unet/             a full fine-tune of its U-Net
    world/motion/*.safetensors         motion modules, and their convolutional rival
    world/lora/noto.safetensors        a LoRA
    runs/<stage>/                      checkpoints and metrics
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from animatediff.errors import InputError
from animatediff.training import image_stages, motion_stages, personal_stages, text_stage
from animatediff.training.trainer import Lesson, TrainOptions


@dataclass(frozen=True)
class Stage:
    """One row: ``prepare`` makes the lesson from a world folder; ``keep`` stores what was learned."""

    learns: str
    prepare: Callable[[Path], Lesson]
    keep: Callable[[Path, Lesson, dict[str, Tensor]], Path]
    options: TrainOptions


STAGES: dict[str, Stage] = {
    "text-encoder": Stage(
        "a small CLIP text model, from a sentence model's embeddings",
        text_stage.prepare,
        text_stage.keep,
        TrainOptions(steps=3500, batch_size=256, learning_rate=1e-3, ema_decay=0.998),
    ),
    "autoencoder": Stage(
        "the latent space",
        image_stages.prepare_autoencoder,
        image_stages.keep_autoencoder,
        TrainOptions(steps=1500, batch_size=8, learning_rate=1e-3, ema_decay=0.995),
    ),
    "decoder": Stage(
        "sharper pictures from the same latents",
        image_stages.prepare_decoder,
        image_stages.keep_decoder,
        TrainOptions(steps=6000, batch_size=8, learning_rate=7e-4, ema_decay=0.995),
    ),
    "image": Stage(
        "the image model, from captioned stills (Eq. 2)",
        image_stages.prepare_image,
        image_stages.keep_image,
        TrainOptions(steps=4200, batch_size=32, learning_rate=7e-4, optimizer="muon"),
    ),
    "image-longer": Stage(
        "the image model from the weights it has, and its text encoder with it",
        image_stages.prepare_longer,
        image_stages.keep_longer,
        TrainOptions(steps=4000, batch_size=32, learning_rate=5e-4, optimizer="muon"),
    ),
    "motion": Stage(
        "the motion modules, from clips, with the image model frozen (Sec. 4.2, Eq. 5)",
        motion_stages.prepare_transformer,
        motion_stages.keep_transformer,
        TrainOptions(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
    ),
    "motion-longer": Stage(
        "the motion modules from the weights they have, for as long as there is time",
        motion_stages.prepare_longer,
        motion_stages.keep_transformer,
        TrainOptions(steps=4000, batch_size=2, learning_rate=5e-4, optimizer="muon"),
    ),
    "motion-convolution": Stage(
        "the convolutional rival of the motion modules (Sec. 5.3)",
        motion_stages.prepare_convolution,
        motion_stages.keep_convolution,
        TrainOptions(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
    ),
    "noto-lora": Stage(
        "a LoRA of a style that the base never saw",
        personal_stages.prepare_lora,
        personal_stages.keep_lora,
        TrainOptions(steps=300, batch_size=32, learning_rate=1e-3),
    ),
    "noto-full": Stage(
        "a full fine-tune to that style",
        personal_stages.prepare_full,
        personal_stages.keep_full,
        TrainOptions(steps=300, batch_size=32, learning_rate=3e-4, optimizer="muon"),
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
