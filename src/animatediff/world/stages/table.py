"""Every training stage: those that make the built-in world's model, and the paper's on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel

from animatediff.config import nearest
from animatediff.data.shards import fingerprint_of
from animatediff.errors import InputError
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.recipe import Recipe
from animatediff.training.stages import paper
from animatediff.training.stages.job import Job
from animatediff.training.stages.option_groups import MotionModuleOptions
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.table import Prepare, Stage, stages
from animatediff.world.stages import image_stages, text_stage, upscaler
from animatediff.world.stages.defaults import WorldDefaults, existing_motion


def from_folder(
    prepare: Callable[[Path], Lesson],
    save: Callable[[Path, Lesson, dict[str, Tensor]], Path],
    *,
    kinds: tuple[str, ...] = ("stills",),
) -> Prepare:
    """A stage that needs only the folder of the built-in world.

    Args:
        prepare: creates the lesson.
        save: writes the trained weights.
        kinds: the training art, ``stills`` or ``clips``.
    """

    def prepared(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
        del recipe, device
        work = options.work
        lesson = prepare(work)
        return Job(
            lesson,
            lambda learned: save(work, lesson, learned),
            {kind: fingerprint_of(work / kind) for kind in kinds},
        )

    return prepared


def prepare_motion_longer(options: StageOptions, recipe: Recipe, device: torch.device) -> Job:
    """Prepare the folder's motion modules to continue their training."""
    if options.of(MotionModuleOptions).motion is None:
        options = options.changed({"motion": str(existing_motion(options.work))})
    return paper.prepare_motion(options, recipe, device)


def world_stages() -> dict[str, Stage]:
    """Return the stages of the built-in image model, and of a held-out style."""
    return {
        "text-encoder": Stage(
            "a small CLIP text model, from a sentence model's embeddings",
            CLIPTextModel,
            (),
            from_folder(text_stage.prepare, text_stage.keep, kinds=("stills", "clips")),
            Recipe(steps=3500, batch_size=256, learning_rate=1e-3, ema_decay=0.998),
        ),
        "autoencoder": Stage(
            "the latent space",
            AutoencoderKL,
            (),
            from_folder(image_stages.prepare_autoencoder, image_stages.keep_autoencoder),
            Recipe(steps=1500, batch_size=8, learning_rate=1e-3, ema_decay=0.995),
        ),
        "decoder": Stage(
            "sharper pictures from the same latents",
            AutoencoderKL,
            (),
            from_folder(image_stages.prepare_decoder, image_stages.keep_decoder),
            Recipe(steps=6000, batch_size=8, learning_rate=7e-4, ema_decay=0.995),
        ),
        "upscaler": Stage(
            "a small network that enlarges frames four times, from vector art at both sizes",
            CompactUpscaler,
            (),
            from_folder(upscaler.prepare, upscaler.keep),
            Recipe(steps=6000, batch_size=8, learning_rate=2e-3, ema_decay=0.995),
        ),
        "image": Stage(
            "the image model, from captioned stills (Eq. 2)",
            UNet2DConditionModel,
            (),
            from_folder(image_stages.prepare_image, image_stages.keep_image),
            Recipe(steps=4200, batch_size=32, learning_rate=7e-4, optimizer="muon"),
        ),
        "image-longer": Stage(
            "the image model from the weights it has, and its text encoder with it",
            UNet2DConditionModel,
            (),
            from_folder(image_stages.prepare_longer, image_stages.keep_longer),
            Recipe(steps=20000, batch_size=32, learning_rate=5e-4, optimizer="muon"),
        ),
        "noto-lora": Stage(
            "a LoRA of a style that the base has not seen",
            LowRankSet,
            (),
            from_folder(image_stages.prepare_style_lora, image_stages.keep_style_lora),
            Recipe(steps=300, batch_size=32, learning_rate=1e-3),
        ),
        "noto-full": Stage(
            "a full fine-tune to that style",
            UNet2DConditionModel,
            (),
            from_folder(image_stages.prepare_style, image_stages.keep_style),
            Recipe(steps=300, batch_size=32, learning_rate=3e-4, optimizer="muon"),
        ),
    }


def all_stages() -> dict[str, Stage]:
    """Return the built-in world's stages, and the others with the world as default."""
    others = stages(WorldDefaults())
    motion = others["motion"]
    longer = replace(
        motion,
        summary="the motion modules from the weights they have, for as long as there is time",
        prepare=prepare_motion_longer,
        recipe=replace(motion.recipe, steps=4000, learning_rate=5e-4),
    )
    return {**world_stages(), "motion": motion, "motion-longer": longer, **others}


STAGES: dict[str, Stage] = all_stages()


def stage_named(name: str) -> Stage:
    """Return the stage of that name.

    Raises:
        InputError: there is none.
    """
    if name not in STAGES:
        close = nearest(name, STAGES)
        hint = f"did you mean {close}?" if close else f"choose one of {', '.join(STAGES)}."
        raise InputError(f"There is no training stage {name!r}; {hint}")
    return STAGES[name]
