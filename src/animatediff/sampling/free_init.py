"""FreeInit: draw a clip again from its own slow parts, so that its frames agree (arXiv 2312.07537).

Even under the most noise of training a little of the clip shows, above all what is the same in all of
its frames. The noise that an animation begins as has nothing of the kind, so its frames disagree. What
was drawn is therefore noised again; the low frequencies of that, over time and space, are kept, and the
high ones are of fresh noise. Every round takes as long as a whole animation, and things move less.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

Clip = Float[Tensor, "1 c f h w"]

SPATIAL, TEMPORAL = 0.25, 0.25
"""Where the filter cuts, as shares of the highest frequency."""
ORDER = 4
"""Of the Butterworth filter: how sharply it cuts."""


def in_rounds(
    noise: Clip,
    *,
    rounds: int,
    draw: Callable[[Clip, int], Clip],
    noised: Callable[[Clip, Clip], Clip],
    fresh: Callable[[int], Clip],
) -> Clip:
    """The latents of an animation after so many rounds; one alone is the usual way to draw.

    Args:
        noise: what the first round begins as; finished latents are noised with it too.
        rounds: at least 1.
        draw: denoises; it is told which round it is, from 0.
        noised: finished latents and noise to latents with the most noise that there is.
        fresh: new noise for a round.
    """
    latents = draw(noise, 0)
    for number in range(1, rounds):
        slow = noised(latents, noise)
        latents = draw(begun_again(slow, fresh(number)), number)
    return latents


def begun_again(slow: Clip, fresh: Clip) -> Clip:
    """The low frequencies of one clip with the high ones of another."""
    over = (-3, -2, -1)
    share = low_pass(*slow.shape[-3:]).to(slow.device)
    mixed = share * torch.fft.rfftn(slow, dim=over) + (1 - share) * torch.fft.rfftn(fresh, dim=over)
    return torch.fft.irfftn(mixed, s=slow.shape[-3:], dim=over)


def low_pass(num_frames: int, height: int, width: int) -> Float[Tensor, "f h half_w"]:
    """How much of each frequency the Butterworth filter lets through, in the order of ``rfftn``."""
    over_time = torch.fft.fftfreq(num_frames)[:, None, None] * 2 * SPATIAL / TEMPORAL
    down = torch.fft.fftfreq(height)[:, None] * 2
    across = torch.fft.rfftfreq(width) * 2
    distance = over_time**2 + down**2 + across**2
    return 1 / (1 + (distance / SPATIAL**2) ** ORDER)
