"""Dynamic guidance: in each channel as strong as its contrast allows (Automatic CFG).

Guidance by a large scale drives single channels of a picture out of their range. The range that a
prediction would have at a fixed scale is measured in every frame and channel, and the scale is divided
by it.
"""

from __future__ import annotations

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.around.guidance import Guidance
from animatediff.sampling.ask import Ask, Latents

REFERENCE = 8.0
"""The scale at which ranges are measured."""
UNIT = 10.0
"""The scale that counts as the reference where the range is 1."""
SHARE = 4
"""One pixel in so many of a row, the largest and the smallest, measures its range."""

Picture = Callable[[Latents, Latents, Tensor], Latents]
"""The clean latents that a prediction stands for, from noisy latents, the prediction and timestep."""


def by_range(scale: float, *, picture: Picture) -> Guidance:
    """Guidance by a scale that is divided by the range of each frame and channel.

    Args:
        scale: as for plain guidance; 8 to 10 are about as strong as 7.5 is there.
        picture: what a prediction stands for.
    """

    def combined(without: Latents, along: Latents, ask: Ask) -> Latents:
        strong = without + REFERENCE * (along - without)
        found = ranges(picture(ask.latents, strong, ask.timestep))
        return without + REFERENCE * scale / UNIT / found * (along - without)

    return combined


def ranges(clean: Latents) -> Float[Tensor, "b c f 1 1"]:
    """The mean of the largest quarter and of the smallest, as sizes, in each frame and channel.

    A quarter of the height is taken in each row, as in the authors' code.
    """
    count = max(1, min(clean.shape[-1], clean.shape[-2] // SHARE))
    largest = clean.topk(count, dim=-1).values.mean(dim=(-2, -1), keepdim=True)
    smallest = (
        clean.topk(count, dim=-1, largest=False).values.abs().mean(dim=(-2, -1), keepdim=True)
    )
    return ((largest + smallest) / 2).clamp(min=1e-6)
