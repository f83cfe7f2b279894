"""FreeNoise: the noise of a long clip repeats that of its first window, shuffled (arXiv 2310.15169).

Frames far apart then have noise in common, so they show the same scene, and the order within each
stride is another, so motion does not repeat.

A frame shows nearly the same picture wherever its noise returns. So where one stride ends and the next
begins, the paper's random orders would put frames side by side that lie almost two strides apart in the
first window, and motion would jump. Here such orders are drawn again.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.runtime import seeded

_DRAWS = 100
"""Orders that are drawn for a stride at most; the last is taken as it is."""


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
    order = repeated_order(noise.shape[2], window=window, stride=stride, seed=seed)
    return noise[:, :, order]


def repeated_order(frames: int, *, window: int, stride: int, seed: int) -> list[int]:
    """The frame of the first window whose noise each frame has.

    Args:
        frames: of the clip.
        window: frames that attend to each other.
        stride: frames that are shuffled together.
        seed: of the order.
    """
    which = list(range(window))
    for start in range(window, frames, stride):
        generator = seeded(seed, "free-noise", start)
        before = which[start - window : start - window + stride]
        following = which[start - window + stride : start - window + 2 * stride]
        orders = (torch.randperm(stride, generator=generator).tolist() for _ in range(_DRAWS))
        drawn: list[int] = []
        for order in orders:
            drawn = [before[index] for index in order]
            if _joins(which[-1], drawn, following, window=window):
                break
        which += drawn
    return which[:frames]


def _joins(last: int, drawn: Sequence[int], following: Sequence[int], *, window: int) -> bool:
    """Whether an order begins near the frame before it, and ends near some frame of what follows.

    Near are frames that may be neighbours within a stride. The first window counts as a circle.
    """
    nearest = max(2, len(drawn) - 1)

    def near(one: int, other: int) -> bool:
        return min((one - other) % window, (other - one) % window) <= nearest

    return near(last, drawn[0]) and (
        not following or any(near(drawn[-1], each) for each in following)
    )
