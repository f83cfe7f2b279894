"""Where randomness comes from: every frame has its own noise, a pure function of seed and frame.

So a frame begins with the same noise whatever the number of frames, the device or the queue (it is
drawn in fp32 on the CPU), and nothing needs to be stored to draw it again.
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
    """What an animation begins as: unit Gaussian noise, in latents; ``number`` chooses another."""
    name = ("noise", number) if number else ("noise",)
    frames = [
        torch.randn(channels, height, width, generator=seeded(seed, *name, frame))
        for frame in range(num_frames)
    ]
    return rearrange(frames, "f c h w -> 1 c f h w")


def step_generators(seed: int, *, step: int, num_frames: int) -> list[torch.Generator]:
    """One source of fresh noise for each frame of one denoising step."""
    return [seeded(seed, "step", step, frame) for frame in range(num_frames)]
