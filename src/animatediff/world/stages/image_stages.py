"""The stages of the built-in image model: autoencoder, decoder, U-Net, and a style it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from einops import rearrange
from torch import Tensor, nn

from animatediff.data.shards import fingerprint_of, read_shards
from animatediff.model.fast.choice import choose_fast_paths
from animatediff.model.grafts.low_rank import LowRankSet, attention_projections
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import channels_last
from animatediff.training.lessons.clips import ClipLesson, ReadClips
from animatediff.training.lessons.denoiser import TextEmbedder, frame_by_frame
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.stages.write_weights import write_model
from animatediff.weights.storage.files import write_weights
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

STYLE_RANK = 16


def prepare_autoencoder(work: Path) -> Lesson:
    """Prepare a new autoencoder on the training concepts of every style but the personalised one."""
    torch.manual_seed(0)
    autoencoder = channels_last(new_autoencoder())
    return AutoencoderLesson(autoencoder, _pictures(work))


def prepare_decoder(work: Path) -> Lesson:
    """Prepare the autoencoder with a frozen encoder, so that latents do not change."""
    autoencoder = AutoencoderKL.from_pretrained(image_model(work) / "vae", local_files_only=True)
    return AutoencoderLesson(channels_last(autoencoder), _pictures(work), decoder_only=True)


def _pictures(work: Path) -> np.ndarray:
    styles = frozenset(style.name for style in STYLES if style.name != STYLE)
    return read_stills(work / "stills", styles=styles).rgba


def keep_autoencoder(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the autoencoder, with latents of mean 0 and unit variance."""
    assert isinstance(lesson, AutoencoderLesson)
    lesson.autoencoder.load_state_dict(learned)
    standardise(lesson.autoencoder, to_model_range(lesson.pictures[::40]))
    folder = write_model(image_model(work) / "vae", lesson.autoencoder)
    write_index(work)
    return folder


def keep_decoder(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the autoencoder with its new decoder."""
    assert isinstance(lesson, AutoencoderLesson)
    lesson.autoencoder.load_state_dict(learned, strict=False)
    return write_model(image_model(work) / "vae", lesson.autoencoder)


@torch.no_grad()
def standardise(autoencoder: AutoencoderKL, pictures: Tensor) -> None:
    """Shift and scale the latents to mean 0 (per channel) and variance 1 (overall), exactly.

    The two pointwise layers around the latents compensate, so that reconstructions do not change and
    the scaling factor is 1.
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
    """Read every still of every style and split as latents, encoded once."""
    return encode_clips(
        read_shards(work / "stills"),
        channels_last(read_autoencoder(work)),
        work / "latents-stills.safetensors",
        source=fingerprint_of(work / "stills"),
    )


def new_image_unet() -> UNet2DConditionModel:
    """The built-in image model: Stable Diffusion's blocks, 16x16 latents, 8.5 M parameters, 4 heads."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=12,
        out_channels=12,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(96, 128, 160),
        layers_per_block=1,
        cross_attention_dim=192,
        attention_head_dim=4,
        norm_num_groups=32,
    )


def prepare_image(work: Path) -> Lesson:
    """Prepare a new U-Net on the training concepts of every style that is not held out."""
    torch.manual_seed(0)
    return still_lesson(new_image_unet(), read_text(work), _seen_stills(work))


def prepare_longer(work: Path) -> Lesson:
    """Prepare the world's U-Net and text encoder to continue on the same stills."""
    stills, text = _seen_stills(work), read_text(work)
    lesson = still_lesson(read_unet(image_model(work)), text, stills)
    phrases = {m["label"] for m in stills.meta} | {t for m in stills.meta for t in m["tags"]}
    return ImageAndTextLesson(lesson, text, sorted(phrases))


def still_lesson(
    unet: UNet2DConditionModel,
    text: TextEmbedder,
    stills: LatentClips,
    *,
    learns: nn.Module | None = None,
) -> ClipLesson:
    """Eq. 2 on stored stills.

    Args:
        unet: the image U-Net.
        text: its tokenizer and text encoder.
        stills: training data.
        learns: the trained module; ``None`` for the U-Net.
    """
    unet = channels_last(unet)
    choose_fast_paths(unet, learns=True, clips=False)
    return ClipLesson(
        unet if learns is None else learns,
        frame_by_frame(unet),
        text,
        never_encoded,
        ReadClips(stills, 1),
        betas(),
        prediction=PREDICTION,
    )


def never_encoded(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Placeholder for the encoder, where latents are stored."""
    del pictures, generator
    raise AssertionError("stored latents are not encoded again")


def _seen_stills(work: Path) -> LatentClips:
    stills = read_still_latents(work)
    return chosen(stills, (m["split"] == "train" and not m["held_out_style"] for m in stills.meta))


def keep_longer(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the U-Net and the text encoder."""
    assert isinstance(lesson, ImageAndTextLesson)
    lesson.learns.load_state_dict(learned, strict=False)
    write_model(image_model(work) / "text_encoder", lesson.text_encoder)
    return write_model(image_model(work) / "unet", cast(UNet2DConditionModel, lesson.unet))


def keep_image(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the U-Net."""
    lesson.learns.load_state_dict(learned)
    return write_model(image_model(work) / "unet", cast(UNet2DConditionModel, lesson.learns))


def prepare_style_lora(work: Path) -> Lesson:
    """Prepare a new LoRA on every attention of the frozen image model, for the held-out style."""
    unet = channels_last(read_unet(image_model(work)).requires_grad_(False))
    torch.manual_seed(0)
    lora = LowRankSet(attention_projections(unet), rank=STYLE_RANK)
    return still_lesson(unet, read_text(work), _style_stills(work), learns=lora)


def keep_style_lora(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the LoRA."""
    assert isinstance(lesson.learns, LowRankSet)
    path = work / "world" / "lora" / f"{STYLE}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    rank = str(STYLE_RANK)
    facts = {"kind": "lora", "family": "emoji", "rank": rank, "alpha": rank}
    return write_weights(path, {k: v.contiguous() for k, v in learned.items()}, metadata=facts)


def prepare_style(work: Path) -> Lesson:
    """Prepare the whole image U-Net, fine-tuned on the held-out style."""
    return still_lesson(read_unet(image_model(work)), read_text(work), _style_stills(work))


def keep_style(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Save the fine-tuned U-Net; other parts are the image model's."""
    lesson.learns.load_state_dict(learned)
    unet = cast(UNet2DConditionModel, lesson.learns)
    return write_model(work / "world" / f"emoji-{STYLE}" / "unet", unet)


def _style_stills(work: Path) -> LatentClips:
    stills = read_still_latents(work)
    return chosen(stills, (m["split"] == "train" and m["style"] == STYLE for m in stills.meta))
