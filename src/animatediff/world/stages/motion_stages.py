"""The rows that learn motion from the built-in world's own clips, encoded once.

They are the paper's motion modules, which may go on from given ones, and their convolutional rival.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from animatediff.errors import FileError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.runtime import channels_last
from animatediff.training.lessons.denoising import DenoisingLesson
from animatediff.training.lessons.lesson import TrainOptions, numbers_themselves
from animatediff.training.lessons.objective import alphas_bar
from animatediff.training.stages.motion_start import Start, given_motion
from animatediff.training.stages.prepared import Prepared, world_facts
from animatediff.training.stages.setup import Setup, trainable
from animatediff.training.steps.light_step import LightStep
from animatediff.weights.families import FAMILIES
from animatediff.world.stages.folder import (
    PREDICTION,
    image_model,
    read_text,
    read_unet,
)
from animatediff.world.stages.moving_art import training_clips

FILES: dict[Branch, str] = {
    "transformer": "emoji.safetensors",
    "convolution": "emoji-conv.safetensors",
}


def prepare_transformer(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """Motion modules on the training clips, fresh or those that the setup names."""
    del device
    return _prepare(setup, options, "transformer")


def prepare_convolution(setup: Setup, options: TrainOptions, device: torch.device) -> Prepared:
    """Temporal convolutions of equal size on the same clips."""
    del device
    return _prepare(setup, options, "convolution")


def from_the_worlds_own(setup: Setup) -> Setup:
    """The setup that begins from the world's own motion modules, unless it names others.

    Raises:
        FileError: there are none yet.
    """
    if setup.motion is not None:
        return setup
    path = world_motion(setup.work, "transformer")
    if not path.is_file():
        raise FileError(f"{path} is not there yet; run the stage motion first, or give --motion.")
    return replace(setup, motion=str(path))


def world_motion(work: Path, branch: Branch) -> Path:
    """Where a world folder keeps its motion modules."""
    return work / "world" / "motion" / FILES[branch]


def _prepare(setup: Setup, options: TrainOptions, branch: Branch) -> Prepared:
    work = setup.work
    mixture = training_clips(work, setup.mix)
    unet = channels_last(read_unet(image_model(work)).requires_grad_(False))
    torch.manual_seed(0)
    start = given_motion(setup, unet, branch=branch) or Start(
        AnimatedUNet(unet, branch=branch), FAMILIES["emoji"]
    )
    LightStep(unet, animated=start.animated, recompute=False, small=True)
    betas = start.family.betas
    lesson = DenoisingLesson(
        trainable(start.animated.motion),
        start.animated,
        read_text(work),
        mixture.clips,
        alphas_bar(start=betas.start, end=betas.end, schedule=betas.schedule),
        num_frames=setup.num_frames,
        prediction=PREDICTION,
        fetch=mixture.draw if setup.mix else numbers_themselves,
    )
    path = setup.output or world_motion(work, branch)
    return Prepared(
        lesson,
        lambda learned: start.keep(path, learned, options=options),
        {
            "num_frames": str(setup.num_frames),
            **_told(setup.mix),
            **world_facts(work, "clips"),
            **start.facts,
        },
        betas=betas,
    )


def _told(mix: tuple[str, ...]) -> dict[str, str]:
    return {"mix": " ".join(mix)} if mix else {}
