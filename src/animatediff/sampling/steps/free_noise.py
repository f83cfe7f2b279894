"""FreeNoise: the noise of a long clip repeats that of its first window, shuffled (arXiv 2310.15169).

Frames far apart then have noise in common, so they show the same scene, and the order within each
stride is another, so motion does not repeat.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.runtime import seeded


def rescheduled(
    noise: Float[Tensor, "1 c f h w"], *, window: int, stride: int, seed: int
) -> Float[Tensor, "1 c f h w"]:
    """Noise whose frames after the first window are those of one window before, shuffled (Eq. 5).

    Args:
        noise: independent noise of every frame; only that of the first window is used.
        window: frames that attend to each other.
        stride: frames that are shuffled together: by how many the next window begins later.
        seed: of the order.
    """
    made, frames = noise.clone(), noise.shape[2]
    for start in range(window, frames, stride):
        count = min(stride, frames - start)
        order = torch.randperm(stride, generator=seeded(seed, "free-noise", start))
        made[:, :, start : start + count] = made[:, :, start - window + order[:count]]
    return made
