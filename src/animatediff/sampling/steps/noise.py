"""Noise of each frame, as a pure function of seed and frame.

It is drawn in fp32 on the CPU, so a frame has the same initial noise for any number of frames, device
or order of requests.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.runtime import seeded


def initial_noise(
    seed: int, *, num_frames: int, channels: int, height: int, width: int, number: int = 0
) -> Float[Tensor, "1 c f h w"]:
    """Return unit Gaussian noise in the shape of latents; ``number`` selects other noise."""
    name = ("noise", number) if number else ("noise",)
    frames = [
        torch.randn(channels, height, width, generator=seeded(seed, *name, frame))
        for frame in range(num_frames)
    ]
    return rearrange(frames, "f c h w -> 1 c f h w")


def step_generators(seed: int, *, step: int, num_frames: int) -> list[torch.Generator]:
    """Return a random generator for each frame of one denoising step."""
    return [seeded(seed, "step", step, frame) for frame in range(num_frames)]
