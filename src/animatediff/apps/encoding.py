"""Load an image model's autoencoder and text encoder to encode a dataset, without its U-Net."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from einops import rearrange
from jaxtyping import UInt8
from torch import Tensor

from animatediff.data.builds.samples import Encoder
from animatediff.errors import InputError
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import Runtime
from animatediff.training.lessons.denoiser import TextEmbedder
from animatediff.training.stages.own_data import encoder_name
from animatediff.weights.finding.builtin import resolve_model
from animatediff.weights.image_model.base_model import BaseModel, BaseModelPlan, plan_base_model
from animatediff.weights.image_model.parts import Pending

CHUNK = 4
"""Frames encoded at a time."""


def load_encoder(
    model: str, *, size: tuple[int, int] | None, device: str, threads: int | None
) -> tuple[Encoder, tuple[int, int]]:
    """Load a model's encoders and choose the size of samples; by default the model's own.

    Raises:
        InputError: there is no such model, its texts cannot be stored, or it cannot encode that
            size.
        FileError: the model is broken.
    """
    runtime = Runtime(device=device, threads=threads)
    runtime.apply()
    plan = plan_base_model(resolve_model(model))
    if plan.text_encoder_2 is not None:
        raise InputError(
            f"{model} is SDXL, which dataset build does not support yet because it "
            "has two text encoders."
        )
    plan.parts["text_encoder"].fill(dtype=torch.float32, device=runtime.torch_device())
    base = _without_unet(plan, device=runtime.torch_device())
    own = int(plan.unet.config["sample_size"]) * base.pixels_per_latent
    chosen = size or (own, own)
    if any(side % base.pixels_per_latent for side in chosen):
        raise InputError(
            f"{model} cannot encode {chosen[0]}x{chosen[1]}: width and height must be multiples "
            f"of {base.pixels_per_latent}."
        )
    return Encoder(
        name=encoder_name(base.name, base.files),
        frames=lambda frames: encode_frames(frames, base=base),
        text=lambda text: encode_text(text, base=base),
    ), chosen


@torch.inference_mode()
def encode_frames(
    frames: UInt8[np.ndarray, "frames height width 3"], *, base: BaseModel
) -> Mapping[str, Tensor]:
    """Encode frames as scaled latents and their standard deviations, which training may sample."""
    vae = base.vae
    scale, shift = vae.config["scaling_factor"], vae.config["shift_factor"] or 0.0
    latents: list[Tensor] = []
    spread: list[Tensor] = []
    for begin in range(0, len(frames), CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(frames[begin : begin + CHUNK]))
        pixels = rearrange(part, "f h w c -> f c h w").to(vae.device, torch.float32) / 127.5 - 1
        found = posterior_of(vae, pixels.contiguous(memory_format=torch.channels_last))
        latents.append(((found.mean - shift) * scale).half().cpu())
        spread.append((found.std * scale).half().cpu())
    return {"latents": torch.cat(latents), "spread": torch.cat(spread)}


@torch.inference_mode()
def encode_text(text: str, *, base: BaseModel) -> Mapping[str, Tensor]:
    """Encode a caption as training does: plain text, 77 tokens."""
    states = TextEmbedder(base.tokenizer, base.text_encoder)([text])
    return {"text": states[0].half().cpu()}


def _without_unet(plan: BaseModelPlan, *, device: torch.device) -> BaseModel:
    """Load the model with a U-Net without storage, which is not used here."""
    return BaseModel(
        name=plan.name,
        unet=plan.unet,
        pending_vae=Pending(plan.parts["vae"], dtype=torch.float32, device=device),
        text_encoder=plan.text_encoder,
        tokenizer=plan.tokenizer,
        scheduler_config=plan.scheduler_config,
        files=plan.files,
        device=device,
    )
