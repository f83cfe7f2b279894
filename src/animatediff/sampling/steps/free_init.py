"""FreeInit: denoise again from noise with the low frequencies of the first result (arXiv 2312.07537).

In training, even the noisiest latents contain a little of the clip, mostly what all frames share. Pure
initial noise contains none of it, so frames are less consistent. FreeInit adds noise to the finished
latents, keeps their low frequencies in time and space, and takes the high ones from fresh noise. Every
round costs a whole animation, and motion becomes smaller.
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
    """Return the latents after ``rounds`` rounds; one round is sampling without FreeInit.

    Args:
        noise: initial noise of the first round, also added to finished latents.
        rounds: at least 1.
        draw: denoises; its second argument is the round, from 0.
        noised: adds noise to finished latents, up to the highest noise level.
        fresh: returns new noise for a round.
    """
    latents = draw(noise, 0)
    for number in range(1, rounds):
        slow = noised(latents, noise)
        latents = draw(begun_again(slow, fresh(number)), number)
    return latents


def begun_again(slow: Clip, fresh: Clip) -> Clip:
    """Combine the low frequencies of one clip with the high ones of another."""
    over = (-3, -2, -1)
    share = low_pass(*slow.shape[-3:]).to(slow.device)
    mixed = share * torch.fft.rfftn(slow, dim=over) + (1 - share) * torch.fft.rfftn(fresh, dim=over)
    return torch.fft.irfftn(mixed, s=slow.shape[-3:], dim=over)


def low_pass(num_frames: int, height: int, width: int) -> Float[Tensor, "f h half_w"]:
    """Return the Butterworth filter's gain at each frequency, in the order of ``rfftn``."""
    over_time = torch.fft.fftfreq(num_frames)[:, None, None] * 2 * SPATIAL / TEMPORAL
    down = torch.fft.fftfreq(height)[:, None] * 2
    across = torch.fft.rfftfreq(width) * 2
    distance = over_time**2 + down**2 + across**2
    return 1 / (1 + (distance / SPATIAL**2) ** ORDER)
