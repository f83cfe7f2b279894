"""Frames to latents, a few at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.latent_space import posterior_of
from animatediff.sampling.control.hints import as_unit
from animatediff.video.containers import Frames

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

CHUNK = 2
"""Frames encoded at a time."""


@torch.inference_mode()
def encoded(
    frames: Frames, *, vae: AutoencoderKL, device: torch.device
) -> Float[Tensor, "1 c f h w"]:
    """The likeliest latents of frames, in fp32, as the denoiser knows them; ``decode`` inverts it.

    Args:
        frames: to encode.
        vae: the autoencoder.
        device: where it computes.
    """
    parts = [
        posterior_of(vae, (2 * as_unit(frames[start : start + CHUNK]) - 1).to(device, vae.dtype))
        .mode()
        .float()
        for start in range(0, len(frames), CHUNK)
    ]
    shift = vae.config["shift_factor"] or 0.0
    latents = (torch.cat(parts) - shift) * vae.config["scaling_factor"]
    return rearrange(latents, "f c h w -> 1 c f h w")
