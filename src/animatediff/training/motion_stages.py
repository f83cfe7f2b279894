"""The rows that learn motion: the paper's motion modules and their convolutional rival."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from animatediff.data.shards import read_shards
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.runtime import channels_last
from animatediff.training.denoising import DenoisingLesson
from animatediff.training.latents import LatentClips, chosen, encode_clips
from animatediff.training.trainer import Lesson
from animatediff.training.world import (
    PREDICTION,
    betas,
    image_model,
    read_autoencoder,
    read_text,
    read_unet,
)
from animatediff.weights.files import read_header, read_weights

NUM_FRAMES = 16
FILES = {"transformer": "emoji.safetensors", "convolution": "emoji-conv.safetensors"}


def read_clip_latents(work: Path) -> LatentClips:
    """Every clip of every split as latents, encoded once."""
    return encode_clips(
        read_shards(work / "clips"),
        channels_last(read_autoencoder(work)),
        work / "latents-clips.safetensors",
    )


def _prepare(work: Path, branch: Branch) -> DenoisingLesson:
    clips = read_clip_latents(work)
    unet = channels_last(read_unet(image_model(work)).requires_grad_(False))
    torch.manual_seed(0)
    animated = AnimatedUNet(unet, branch=branch)
    return DenoisingLesson(
        animated.motion,
        animated,
        read_text(work),
        chosen(clips, (m["split"] == "train" for m in clips.meta)),
        betas(),
        num_frames=NUM_FRAMES,
        prediction=PREDICTION,
    )


def _keep(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    assert isinstance(lesson, DenoisingLesson)
    animated = lesson.predict_noise
    assert isinstance(animated, AnimatedUNet)
    lesson.learns.load_state_dict(learned)
    path = work / "world" / "motion" / FILES[animated.branch]
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(animated.motion_state_dict(), path, metadata=motion_metadata(animated))
    return path


def motion_metadata(animated: AnimatedUNet) -> dict[str, str]:
    """What a motion file says of itself, so that it is rebuilt as it was trained."""
    return {
        "kind": "motion",
        "family": "emoji",
        "branch": animated.branch,
        "mid": json.dumps(animated.mid),
        "norm_scope": animated.norm_scope,
        "resnet_norm_scope": animated.resnet_norm_scope,
        "heads": str(animated.heads),
    }


def prepare_transformer(work: Path) -> Lesson:
    """Fresh motion modules on the training clips."""
    return _prepare(work, "transformer")


def prepare_longer(work: Path) -> Lesson:
    """The motion modules of the world on the same clips again.

    Raises:
        FileError: there are none yet, or they are broken.
    """
    header = read_header(work / "world" / "motion" / FILES["transformer"])
    lesson = _prepare(work, "transformer")
    lesson.learns.load_state_dict(read_weights(header, dtype=torch.float32, refuse_nan=True))
    return lesson


def prepare_convolution(work: Path) -> Lesson:
    """Fresh temporal convolutions of equal size on the same clips."""
    return _prepare(work, "convolution")


keep_transformer = keep_convolution = _keep
