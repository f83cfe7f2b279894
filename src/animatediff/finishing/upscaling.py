"""Larger frames by a network, one frame at a time, and large frames in tiles that do not show."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.errors import InputError
from animatediff.runtime import channels_last
from animatediff.video import Video
from animatediff.weights.upscalers import Upscaler

MAX_FACTOR = 8
MAX_SIDE = 8192
"""Pixels of a side of the largest result."""
TILE = 512
"""Pixels of a side that are enlarged at once."""
MARGIN = 32
"""Pixels around a tile that are enlarged with it and thrown away."""


def upscaled(
    video: Video,
    factor: int,
    *,
    upscaler: Upscaler,
    device: torch.device | str = "cpu",
    on_frame: Callable[[int], None] | None = None,
) -> Video:
    """A video with frames ``factor`` times as wide and high.

    A network for another factor is applied until the frames are large enough; then they are reduced.

    Args:
        video: the frames.
        factor: 1 to 8; 1 returns the video unchanged.
        upscaler: the network.
        device: where it runs.
        on_frame: called with the number of finished frames.

    Raises:
        InputError: the factor is out of range, the result would be too large, or the network does not
            enlarge.
    """
    height, width = video.frames.shape[1:3]
    check_factor(factor, width=width, height=height)
    if factor == 1:
        return video
    if upscaler.scale < 2:
        raise InputError(
            f"The upscaler has a scale of {upscaler.scale}, so it does not enlarge; choose another."
        )
    network = channels_last(upscaler.network.to(device))
    frames: list[UInt8[np.ndarray, "height width 3"]] = []
    for frame in video.frames:
        picture = rearrange(torch.from_numpy(frame.copy()), "h w c -> 1 c h w").float() / 255
        larger = _enlarged(picture.to(device), factor, network=network, scale=upscaler.scale)
        frames.append(_as_bytes(larger))
        if on_frame is not None:
            on_frame(len(frames))
    return Video(np.stack(frames), video.fps)


def check_factor(factor: int, *, width: int, height: int) -> None:
    """Raise if frames cannot be enlarged so much.

    Raises:
        InputError: the factor is out of range, or the result would be too large.
    """
    if not 1 <= factor <= MAX_FACTOR:
        raise InputError(f"upscale = {factor} is out of range; use 1 to {MAX_FACTOR}.")
    if factor > 1 and max(width, height) * factor > MAX_SIDE:
        raise InputError(
            f"Frames of {width}x{height} enlarged {factor} times would be wider or higher than "
            f"{MAX_SIDE} pixels; use a smaller --upscale."
        )


@torch.inference_mode()
def _enlarged(
    picture: Float[Tensor, "1 3 h w"],
    factor: int,
    *,
    network: Callable[[Tensor], Tensor],
    scale: int,
) -> Float[Tensor, "1 3 height width"]:
    height, width = (side * factor for side in picture.shape[-2:])
    reached = 1
    while reached < factor:
        picture = in_tiles(picture, network=network, scale=scale).clamp(0, 1)
        reached *= scale
    if reached != factor:
        picture = F.interpolate(picture, size=(height, width), mode="bicubic", antialias=True)
    return picture


def in_tiles(
    picture: Float[Tensor, "1 3 h w"],
    *,
    network: Callable[[Tensor], Tensor],
    scale: int,
    tile: int = TILE,
    margin: int = MARGIN,
) -> Float[Tensor, "1 3 height width"]:
    """The network's result for a picture, computed tile by tile.

    A tile is read with a margin, whose result is thrown away. Where the network looks no further than
    the margin, the result is that of the whole picture.
    """
    height, width = picture.shape[-2:]
    if height <= tile and width <= tile:
        return network(picture)
    result = picture.new_empty((1, 3, height * scale, width * scale))
    for top, bottom in _spans(height, tile):
        for left, right in _spans(width, tile):
            y, x = max(0, top - margin), max(0, left - margin)
            part = network(picture[..., y : bottom + margin, x : right + margin])
            inner = part[
                ...,
                (top - y) * scale : (bottom - y) * scale,
                (left - x) * scale : (right - x) * scale,
            ]
            result[..., top * scale : bottom * scale, left * scale : right * scale] = inner
    return result


def _spans(length: int, tile: int) -> Iterator[tuple[int, int]]:
    """Beginnings and ends of tiles."""
    for start in range(0, length, tile):
        yield start, min(length, start + tile)


def _as_bytes(picture: Float[Tensor, "1 3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    unit = picture.float().clamp(0, 1) * 255
    return rearrange(unit.round().byte().cpu(), "1 c h w -> h w c").numpy()
