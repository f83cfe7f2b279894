"""Decode large frames in tiles that overlap and are blended, so that memory depends on the tile alone.

Normalisation in the decoder is over what it sees, so that neighbouring tiles differ a little in
brightness. Each tile counts less and less towards its edges, along straight ramps, and the weights of
all tiles add up to one at every pixel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

OVERLAP = 4
"""One part in this many of a tile is shared with the next."""


def decoded_in_tiles(
    latents: Float[Tensor, "f c h w"],
    *,
    decode: Callable[[Tensor], Tensor],
    tile: int,
) -> Float[Tensor, "f 3 height width"]:
    """What ``decode`` makes of latents, computed tile by tile.

    Args:
        latents: of some frames.
        decode: latents to pictures, a whole number of times larger.
        tile: side of a tile, in latents; larger latents are cut.
    """
    height, width = latents.shape[-2:]
    if height <= tile and width <= tile:
        return decode(latents)
    total: Tensor | None = None
    weights: Tensor | None = None
    unit = 1
    for top, bottom in spans(height, tile):
        for left, right in spans(width, tile):
            part = decode(latents[..., top:bottom, left:right]).float()
            if total is None or weights is None:
                unit = part.shape[-1] // (right - left)
                shape = (len(latents), part.shape[1], height * unit, width * unit)
                total = part.new_zeros(shape)
                weights = part.new_zeros(height * unit, width * unit)
            ramp = tile // OVERLAP * unit
            down = _weights(part.shape[-2], ramp, first=top == 0, last=bottom == height)
            across = _weights(part.shape[-1], ramp, first=left == 0, last=right == width)
            weight = (down[:, None] * across[None, :]).to(part.device)
            place = (..., slice(top * unit, bottom * unit), slice(left * unit, right * unit))
            total[place] += part * weight
            weights[place] += weight
    assert total is not None, "there is a tile"
    assert weights is not None, "there is a tile"
    return total / weights


def spans(length: int, tile: int) -> list[tuple[int, int]]:
    """Beginnings and ends of tiles that overlap by a quarter or more; the last ends at the end."""
    if length <= tile:
        return [(0, length)]
    step = tile - tile // OVERLAP
    starts = [*range(0, length - tile, step), length - tile]
    return [(start, start + tile) for start in starts]


def _weights(length: int, ramp: int, *, first: bool, last: bool) -> Float[Tensor, " length"]:
    """Rising from the beginning and falling to the end, except at the picture's own edges."""
    places = torch.arange(length, dtype=torch.float32) + 0.5
    rising = torch.ones(length) if first else (places / max(ramp, 1)).clamp(max=1)
    falling = torch.ones(length) if last else ((length - places) / max(ramp, 1)).clamp(max=1)
    return rising * falling
