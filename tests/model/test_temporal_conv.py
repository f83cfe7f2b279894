"""The convolutional rival: as large as the motion module, and different only in how frames mix."""

import pytest
import torch
from einops import rearrange

from animatediff.model import Clip, MotionModule, TemporalConv


def parameters(module):
    return sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("channels", [32, 320, 640, 1280])
def test_the_rival_has_as_many_parameters_as_the_motion_module(channels):
    with torch.device("meta"):
        rival, module = TemporalConv(channels), MotionModule(channels)
    assert abs(parameters(rival) / parameters(module) - 1) < 0.01
    assert parameters(rival) == 22 * channels**2 + 21 * channels


def test_a_fresh_rival_adds_exactly_nothing():
    x = torch.randn(8, 32, 3, 2)
    assert not TemporalConv(32, norm_groups=8, clip=Clip(4))(x, x).any()


def test_each_convolution_sees_the_frame_before_and_after(randomised):
    rival = randomised(TemporalConv(32, norm_groups=8, conv_blocks=1, clip=Clip(7)))
    x = torch.randn(2 * 7, 32, 3, 2, generator=torch.Generator().manual_seed(0))
    changed = x.clone()
    changed[3].neg_()
    difference = (rival(changed, changed) - rival(x, x)).abs().amax(dim=(1, 2, 3))
    assert difference.nonzero().flatten().tolist() == [2, 3, 4]


def test_the_convolution_along_frames_is_one_dimensional(randomised):
    clip = Clip(5)
    layer = (
        randomised(TemporalConv(32, norm_groups=8, clip=clip)).transformer_blocks[0].conv_blocks[0]
    )
    tokens = torch.randn(2 * 5, 6, 32)
    rows = rearrange(tokens, "(b f) s c -> (b s) c f", f=5)
    weight = layer.along_frames.weight[..., 0]
    mixed = torch.nn.functional.conv1d(rows, weight, padding=1)
    mixed = rearrange(mixed, "(b s) c f -> (b f) s c", s=6)
    expected = layer.pointwise(mixed * mixed.sigmoid())
    torch.testing.assert_close(layer(tokens), expected, atol=1e-5, rtol=1e-5)
