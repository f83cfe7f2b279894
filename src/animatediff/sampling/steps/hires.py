"""The hires pass: draw at the model's own size, enlarge, and draw the details anew at the larger size.

A model draws sound shapes only near the size that it was trained at. So the animation is drawn there,
enlarged as latents or as pixels, noised to some strength, and denoised at the larger size; what is in
the picture stays, and its details are drawn. As AUTOMATIC1111's "hires fix", over all frames together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from einops import rearrange

from animatediff.video import Video
from animatediff.weights.finding.builtin import resolve

if TYPE_CHECKING:
    from animatediff.sampling.ask import Latents
    from animatediff.sampling.settled import Settled
    from animatediff.video.containers import Frames
    from animatediff.weights.image_model.base_model import BaseModel


def second_pass(settled: Settled, *, unit: int) -> Settled:
    """The same animation at the larger size, beginning late.

    Args:
        settled: the first pass.
        unit: pixels of a latent's side.
    """
    request = settled.request
    width, height = (
        max(unit, round(side * request.hires / unit) * unit)
        for side in (settled.width, settled.height)
    )
    first = settled.steps - max(1, round(settled.steps * request.hires_strength))
    return replace(
        settled,
        request=replace(request, free_init=1),
        width=width,
        height=height,
        first=first,
    )


def enlarged(
    latents: Latents,
    large: Settled,
    *,
    base: BaseModel,
    decode: Callable[[Latents], Frames],
    encode: Callable[[Frames], Latents],
) -> Latents:
    """Latents in the size of the second pass.

    Args:
        latents: of the first pass, or the still that it began from.
        large: the second pass.
        base: says how large a latent is.
        decode: latents to frames.
        encode: frames to latents.
    """
    size = (large.height // base.pixels_per_latent, large.width // base.pixels_per_latent)
    if large.request.hires_by == "latent":
        flat = rearrange(latents, "1 c f h w -> f c h w")
        larger = F.interpolate(flat, size=size, mode="bilinear", antialias=False)
        return rearrange(larger, "f c h w -> 1 c f h w")
    frames = _larger_frames(decode(latents), large)
    return encode(frames)


def _larger_frames(frames: Frames, large: Settled) -> Frames:
    """Frames in the size of the second pass, by a network or bicubic."""
    if large.request.upscaler:
        from animatediff.finishing.upscaling import upscaled
        from animatediff.weights.upscalers import read_upscaler

        upscaler = read_upscaler(resolve("upscaler", large.request.upscaler))
        frames = upscaled(Video(frames, Fraction(1)), upscaler.scale, upscaler=upscaler).frames
    flat = rearrange(torch.from_numpy(frames), "f h w c -> f c h w").float()
    larger = F.interpolate(flat, size=(large.height, large.width), mode="bicubic", antialias=True)
    return rearrange(larger.round().clamp(0, 255).byte(), "f c h w -> f h w c").numpy()
