"""The rows that personalise: a LoRA and a full fine-tune to a style the base never saw (Sec. 5)."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from animatediff.model.low_rank import LowRankSet, attach_low_rank, attention_projections
from animatediff.runtime import channels_last
from animatediff.training.denoising import DenoisingLesson, frame_by_frame
from animatediff.training.image_stages import read_still_latents
from animatediff.training.latents import LatentClips, chosen
from animatediff.training.trainer import Lesson
from animatediff.training.world import PREDICTION, STYLE, betas, image_model, read_text, read_unet

RANK = 16


def _style_stills(work: Path) -> LatentClips:
    stills = read_still_latents(work)
    return chosen(stills, (m["split"] == "train" and m["style"] == STYLE for m in stills.meta))


def prepare_lora(work: Path) -> Lesson:
    """A fresh LoRA on every attention of the frozen image model."""
    unet = channels_last(read_unet(image_model(work)).requires_grad_(False))
    torch.manual_seed(0)
    lora = attach_low_rank(attention_projections(unet), rank=RANK)
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
    save_file({k: v.contiguous() for k, v in learned.items()}, path, metadata=facts)
    return path


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
    folder = work / "world" / f"emoji-{STYLE}" / "unet"
    lesson.learns.save_pretrained(folder)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
    return folder
