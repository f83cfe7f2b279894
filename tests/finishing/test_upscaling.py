"""Enlarged frames: any factor from any network, in tiles that do not show."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch

from animatediff.errors import InputError
from animatediff.finishing.upscaling import in_tiles, upscaled
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.video import Video
from animatediff.weights.upscalers import Upscaler


def upscaler(scale: int = 4) -> Upscaler:
    """A network that repeats every pixel, plus a little."""
    torch.manual_seed(0)
    network = CompactUpscaler(channels=4, layers=2, scale=scale).eval()
    with torch.no_grad():
        for weights in network.parameters():
            weights.mul_(0.2)
    return Upscaler(network, scale, "compact")


def video(side: int = 8) -> Video:
    generator = np.random.default_rng(0)
    return Video(generator.integers(60, 200, (3, side, side + 4, 3), np.uint8), Fraction(8))


@pytest.mark.parametrize(("factor", "scale"), [(4, 4), (2, 4), (3, 2), (8, 2), (1, 4)])
def test_frames_have_the_size_that_is_asked_for(factor: int, scale: int) -> None:
    seen: list[int] = []
    larger = upscaled(video(), factor, upscaler=upscaler(scale), on_frame=seen.append)
    assert larger.frames.shape == (3, 8 * factor, 12 * factor, 3)
    assert larger.fps == 8
    assert seen == ([1, 2, 3] if factor > 1 else [])
    small = larger.frames.reshape(3, 8, factor, 12, factor, 3).mean((2, 4))
    assert np.abs(small - video().frames).mean() < 8


def test_each_frame_is_enlarged_by_itself() -> None:
    whole = upscaled(video(), 4, upscaler=upscaler()).frames
    single = upscaled(Video(video().frames[1:2], Fraction(8)), 4, upscaler=upscaler()).frames
    np.testing.assert_array_equal(whole[1:2], single)


@pytest.mark.parametrize(("height", "width"), [(20, 31), (8, 50), (16, 16)])
def test_tiles_give_what_the_whole_picture_gives(height: int, width: int) -> None:
    network = upscaler(2).network
    picture = torch.rand(1, 3, height, width)
    with torch.no_grad():
        tiled = in_tiles(picture, network=network, scale=2, tile=8, margin=4)
        torch.testing.assert_close(tiled, network(picture))


def test_what_cannot_be_is_one_sentence() -> None:
    with pytest.raises(InputError, match="1 to 8"):
        upscaled(video(), 9, upscaler=upscaler())
    with pytest.raises(InputError, match="8192 pixels"):
        upscaled(video(2000), 8, upscaler=upscaler())
    with pytest.raises(InputError, match="does not enlarge"):
        upscaled(video(), 2, upscaler=Upscaler(torch.nn.Identity(), 1, "esrgan"))
