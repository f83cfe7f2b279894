"""What the baselines read of a loaded model: text states of prompts and latents of a video."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.latent_space import posterior_of
from animatediff.sampling.animator import Animator
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.video import Video
from animatediff.video.fit import fit_frames


def states_of(animator: Animator, texts: Sequence[str]) -> Float[Tensor, "t n d"]:
    """Return the text encoder's states of each text.

    Raises:
        InputError: the image model is SDXL, for which neither baseline was published.
    """
    if animator.base.text_encoder_2 is not None:
        raise InputError("The baselines were published for Stable Diffusion 1; this model is SDXL.")
    with torch.inference_mode():
        encoded = encode_prompts(texts, base=animator.base, words=animator.words)
    return torch.cat([each.states for each in encoded]).clone()


def side_of(animator: Animator) -> int:
    """Return the side of the image model's own latents."""
    return int(animator.base.unet.config["sample_size"])


def latents_of(
    animator: Animator, video: Video, *, num_frames: int
) -> tuple[Float[Tensor, "1 c f h w"], Fraction]:
    """Return the first frames of a video as latents of the model's own size, and the video's rate."""
    side = side_of(animator) * animator.base.pixels_per_latent
    shown = fit_frames(video.frames[:num_frames], width=side, height=side)
    vae = animator.base.vae
    pictures = torch.tensor(shown).to(vae.device).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.inference_mode():
        latents = torch.cat([posterior_of(vae, one).mode() for one in pictures.split(2)])
    shift = vae.config["shift_factor"] or 0.0
    scaled = (latents - shift) * vae.config["scaling_factor"]
    return rearrange(scaled.clone(), "f c h w -> 1 c f h w"), video.fps


def mask_of(animator: Animator, path: Path, *, num_frames: int) -> Float[Tensor, "m h w"]:
    """Return the foreground of a picture or of a video's first frames, at the size of the latents.

    Raises:
        InputError: a video has fewer frames than are drawn.
        FileError: it cannot be read.
    """
    side = side_of(animator)
    frames = Video.load(path).frames[:num_frames]
    if 1 < len(frames) < num_frames:
        raise InputError(
            f"{path} has {len(frames)} frames, but {num_frames} are drawn; give one mask for each, or "
            "a single one that moves with the flow."
        )
    shown = torch.tensor(fit_frames(frames, width=side, height=side)).float() / 255
    return shown.mean(dim=-1).to(animator.base.vae.device)
