"""How much each region of a request counts, in every frame and latent."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.around.regional import shares_of
from animatediff.sampling.regions.masks import at_size, read_mask
from animatediff.sampling.regions.options import parse_region
from animatediff.sampling.settled import Settled


def region_shares(settled: Settled, *, unit: int) -> Float[Tensor, "n f h w"] | None:
    """The shares of the regions of a request; nothing if it has none.

    Args:
        settled: the request.
        unit: pixels along a side that a latent stands for.

    Raises:
        FileError: a mask cannot be read.
    """
    request = settled.request
    if not request.regions:
        return None
    masks = [
        at_size(
            read_mask(parse_region(region)[1], settled, soft=request.region_soft),
            height=settled.height // unit,
            width=settled.width // unit,
        )
        for region in request.regions
    ]
    return shares_of(masks)
