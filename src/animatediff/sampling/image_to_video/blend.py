"""Latents to begin with that fade from a picture to noise along the frames.

sd-webui-animatediff's way of image to video: frame k begins with the share max(0, 1 - k^power / scale)
of the picture's latents, and the rest is noise.
"""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.runtime import seeded


def shares(num_frames: int, *, power: float, scale: float) -> tuple[float, ...]:
    """The share of the picture in each frame."""
    return tuple(max(0.0, 1 - frame**power / scale) for frame in range(num_frames))


def blended(
    latents: Float[Tensor, "1 c 1 h w"], *, num_frames: int, power: float, scale: float, seed: int
) -> Float[Tensor, "1 c f h w"]:
    """Latents for every frame of an animation.

    Args:
        latents: the picture's.
        num_frames: of the animation.
        power: bends the fall.
        scale: how long frames stay like the picture.
        seed: of the noise, which is drawn for each frame by itself.
    """
    rest = [
        torch.randn(latents.shape[1:2] + latents.shape[3:], generator=seeded(seed, "blend", frame))
        for frame in range(num_frames)
    ]
    noise = rearrange(rest, "f c h w -> 1 c f h w").to(latents)
    # 0^0 is 1, but frame 0 is the picture whatever the power.
    share = latents.new_tensor((1.0, *shares(num_frames, power=power, scale=scale)[1:]))
    share = rearrange(share, "f -> f 1 1")
    return share * latents + (1 - share) * noise
