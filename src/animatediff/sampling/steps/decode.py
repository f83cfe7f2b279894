"""Decode latents to frames, a few at a time, which bounds the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.errors import Cancelled
from animatediff.runtime import Runtime
from animatediff.sampling.steps.denoise import check_finite
from animatediff.sampling.steps.tiled_decode import decoded_in_tiles

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

TOGETHER = 2 * 128**2
"""Pixels of the frames that are decoded at a time. Larger frames are decoded one by one, which takes no
longer, and half of the memory. It is part of what makes results repeatable, so not a setting."""


def frames_together(pixels: int) -> int:
    """How many frames of so many pixels are decoded at a time: one or two."""
    return min(2, max(1, TOGETHER // pixels))


@torch.inference_mode()
def decode(
    latents: Float[Tensor, "1 c f h w"],
    *,
    vae: AutoencoderKL,
    runtime: Runtime | None = None,
    tile: int = 0,
    on_step: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> UInt8[np.ndarray, "f height width 3"]:
    """The frames that latents stand for.

    Args:
        latents: of an animation, where the autoencoder computes.
        vae: the autoencoder.
        runtime: which fast paths it takes; all that pay off, if ``None``.
        tile: side of the tiles in pixels, in which large frames are decoded; 0 for whole frames.
        on_step: called with how many frames are done.
        should_stop: asked before every chunk.

    Raises:
        Cancelled: ``should_stop`` said so, before some chunk.
        NumericalError: the decoder gave NaN or infinity.
    """
    from animatediff.model.fast.drawing import decode_fast  # imports diffusers

    shift = vae.config["shift_factor"] or 0.0
    scaled = rearrange(latents, "1 c f h w -> f c h w").to(vae.dtype) / vae.config["scaling_factor"]
    frames: list[UInt8[np.ndarray, "f height width 3"]] = []
    done = 0
    unit = 2 ** (len(vae.config["block_out_channels"]) - 1)
    side = tile // unit
    together = frames_together(scaled.shape[-2] * scaled.shape[-1] * unit**2)

    def whole(part: Any) -> Tensor:  # diffusers' annotation asks for a FloatTensor
        return vae.decode(part, return_dict=False)[0]

    fast = decode_fast(vae.decoder, runtime or Runtime(device=str(latents.device)))
    try:
        for chunk in (scaled + shift).split(together):
            if should_stop is not None and should_stop():
                raise Cancelled(f"Cancelled after decoding {done} of {len(scaled)} frames.")
            pictures = decoded_in_tiles(chunk, decode=whole, tile=side) if side else whole(chunk)
            check_finite(pictures, when=f"in decoding frame {done + 1} of {len(scaled)}")
            frames.append(as_bytes(pictures))
            done += len(chunk)
            if on_step is not None:
                on_step(done)
    finally:
        fast.remove()
    return np.concatenate(frames)


def as_bytes(pictures: Float[Tensor, "f 3 h w"]) -> UInt8[np.ndarray, "f h w 3"]:
    """Convert pictures from [-1, 1] to bytes."""
    unit = (pictures.float() / 2 + 0.5).clamp(0, 1)
    return rearrange((unit * 255).round().byte().cpu(), "f c h w -> f h w c").numpy()
