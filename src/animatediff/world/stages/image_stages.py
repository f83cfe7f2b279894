"""The rows that make the image model: autoencoder, decoder, and the U-Net on captioned stills."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor

from animatediff.data.shards import read_shards
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import channels_last
from animatediff.training.lessons.denoising import (
    DenoisingLesson,
    attend_plainly,
    frame_by_frame,
    new_image_unet,
)
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.stages.write_weights import write_model
from animatediff.world.art.emoji import STYLES
from animatediff.world.art.stills import read_stills, to_model_range
from animatediff.world.stages.autoencoder import AutoencoderLesson, new_autoencoder
from animatediff.world.stages.folder import (
    PREDICTION,
    STYLE,
    betas,
    image_model,
    read_autoencoder,
    read_text,
    read_unet,
    write_index,
)
from animatediff.world.stages.image_and_text import ImageAndTextLesson
from animatediff.world.stages.latents import LatentClips, chosen, encode_clips


def prepare_autoencoder(work: Path) -> Lesson:
    """A fresh autoencoder on the training concepts of every style but the personalised one."""
    torch.manual_seed(0)
    autoencoder = channels_last(new_autoencoder())
    return AutoencoderLesson(autoencoder, _pictures(work))


def prepare_decoder(work: Path) -> Lesson:
    """The autoencoder with its encoder frozen, so that every latent stays what it is."""
    autoencoder = AutoencoderKL.from_pretrained(image_model(work) / "vae", local_files_only=True)
    return AutoencoderLesson(channels_last(autoencoder), _pictures(work), decoder_only=True)


def _pictures(work: Path) -> np.ndarray:
    styles = frozenset(style.name for style in STYLES if style.name != STYLE)
    return read_stills(work / "stills", styles=styles).rgba


def keep_autoencoder(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the autoencoder with its latents centred and scaled to unit variance."""
    assert isinstance(lesson, AutoencoderLesson)
    lesson.autoencoder.load_state_dict(learned)
    standardise(lesson.autoencoder, to_model_range(lesson.pictures[::40]))
    folder = write_model(image_model(work) / "vae", lesson.autoencoder)
    write_index(work)
    return folder


def keep_decoder(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the autoencoder with its better decoder."""
    assert isinstance(lesson, AutoencoderLesson)
    lesson.autoencoder.load_state_dict(learned, strict=False)
    return write_model(image_model(work) / "vae", lesson.autoencoder)


@torch.no_grad()
def standardise(autoencoder: AutoencoderKL, pictures: Tensor) -> None:
    """Shift and scale the latents to mean 0 (of each channel) and variance 1 (of all), exactly.

    The two pointwise layers around the latents take it up, so that pictures do not change and the
    scaling factor is 1.
    """
    before, after = autoencoder.quant_conv, autoencoder.post_quant_conv
    assert before is not None
    assert after is not None
    assert before.bias is not None
    assert after.bias is not None
    parts = [posterior_of(autoencoder, p).mean for p in pictures.split(16)]
    latents = rearrange(torch.cat(parts), "b c h w -> c (b h w)")
    mean = latents.mean(1)
    scale = (latents - mean[:, None]).std()
    channels = len(mean)
    after.bias.add_(torch.einsum("oc,c->o", after.weight[:, :, 0, 0], mean))
    after.weight.mul_(scale)
    before.weight[:channels].div_(scale)
    before.bias[:channels].sub_(mean).div_(scale)
    before.bias[channels:].sub_(2 * scale.log())
    autoencoder.register_to_config(scaling_factor=1.0)


def read_still_latents(work: Path) -> LatentClips:
    """Every still of every style and split as latents, encoded once."""
    return encode_clips(
        read_shards(work / "stills"),
        channels_last(read_autoencoder(work)),
        work / "latents-stills.safetensors",
    )


def prepare_image(work: Path) -> Lesson:
    """A fresh U-Net on the training concepts of every style that is not held out."""
    torch.manual_seed(0)
    return _image_lesson(work, attend_plainly(new_image_unet()))


def prepare_longer(work: Path) -> Lesson:
    """The U-Net of the world on the same stills again, its text encoder learning along."""
    denoising = _image_lesson(work, read_unet(image_model(work)))
    metas = denoising.clips.meta
    phrases = {m["label"] for m in metas} | {t for m in metas for t in m["tags"]}
    return ImageAndTextLesson(denoising, sorted(phrases))


def _image_lesson(work: Path, unet: UNet2DConditionModel) -> DenoisingLesson:
    stills = read_still_latents(work)
    wanted = (m["split"] == "train" and not m["held_out_style"] for m in stills.meta)
    unet = channels_last(unet)
    return DenoisingLesson(
        unet,
        frame_by_frame(unet),
        read_text(work),
        chosen(stills, wanted),
        betas(),
        prediction=PREDICTION,
    )


def keep_longer(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the U-Net and the text encoder."""
    assert isinstance(lesson, ImageAndTextLesson)
    lesson.learns.load_state_dict(learned, strict=False)
    write_model(image_model(work) / "text_encoder", lesson.text_encoder)
    return write_model(image_model(work) / "unet", cast(UNet2DConditionModel, lesson.unet))


def keep_image(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the U-Net."""
    lesson.learns.load_state_dict(learned)
    return write_model(image_model(work) / "unet", cast(UNet2DConditionModel, lesson.learns))
