"""Frames between the frames of a video, drawn by a user's network."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.finishing.interpolation import Between, Frame, filled, held
from animatediff.video import Video
from animatediff.weights.interpolators import Interpolator, frame_between


def interpolated_by(
    interpolator: Interpolator,
    video: Video,
    factor: int,
    *,
    closed: bool = False,
    device: torch.device | str = "cpu",
) -> Video:
    """A video with ``factor`` times the frame rate and the same frames among its own.

    Args:
        interpolator: the network.
        video: at least one frame.
        factor: 1 to 16; 1 returns the video unchanged.
        closed: the video is a loop, so that frames are also drawn between the last and the first.
        device: where the network runs.

    Raises:
        InputError: the factor is out of range.
    """
    interpolator.network.to(device)

    def between(first: Frame, second: Frame) -> Between:
        if np.array_equal(first, second):
            return held(first, second)
        before, after = _as_picture(first, device), _as_picture(second, device)

        def draw(t: float) -> Frame:
            return _as_bytes(frame_between(interpolator, before, after, moment=t))

        return draw

    return filled(video, factor, between=between, closed=closed)


def _as_picture(
    frame: UInt8[np.ndarray, "height width 3"], device: torch.device | str
) -> Float[Tensor, "1 3 height width"]:
    pixels = torch.from_numpy(frame.copy()).to(device)
    return rearrange(pixels, "h w c -> 1 c h w").float() / 255


def _as_bytes(picture: Float[Tensor, "1 3 h w"]) -> UInt8[np.ndarray, "h w 3"]:
    bytes_ = (picture * 255).round().byte().cpu()
    return rearrange(bytes_, "1 c h w -> h w c").numpy()
