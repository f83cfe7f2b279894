"""Noise of each frame, as a pure function of seed and frame.

It is drawn in fp32 on the CPU, so a frame has the same initial noise for any number of frames, device
or order of requests.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.shared_noise import with_shared
from animatediff.runtime import seeded


def initial_noise(
    seed: int,
    *,
    num_frames: int,
    channels: int,
    height: int,
    width: int,
    number: int = 0,
    share: float = 0.0,
) -> Float[Tensor, "1 c f h w"]:
    """Return unit Gaussian noise in the shape of latents.

    Args:
        seed: of the request.
        num_frames: of the animation.
        channels: of the latents.
        height: of the latents.
        width: of the latents.
        number: selects other noise.
        share: of the variance that all frames have in common (arXiv 2305.10474). What they share is
            the noise of a still with this seed, so the still and the animation resemble each other.
    """
    name = ("noise", number) if number else ("noise",)

    def drawn(*keys: int | str) -> Float[Tensor, "c h w"]:
        return torch.randn(channels, height, width, generator=seeded(seed, *name, *keys))

    if not share:
        return rearrange([drawn(frame) for frame in range(num_frames)], "f c h w -> 1 c f h w")
    own = rearrange([drawn("own", frame) for frame in range(num_frames)], "f c h w -> 1 c f h w")
    return with_shared(own, rearrange(drawn(0), "c h w -> 1 c 1 h w"), share=share)


def step_generators(seed: int, *, step: int, num_frames: int) -> list[torch.Generator]:
    """Return a random generator for each frame of one denoising step."""
    return [seeded(seed, "step", step, frame) for frame in range(num_frames)]
