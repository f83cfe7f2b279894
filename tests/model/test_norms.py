"""Statistics of the image model's GroupNorms: per frame, or over a clip."""

import pytest
import torch
from einops import rearrange
from torch import nn

from animatediff.model import Clip
from animatediff.model.norms import NormsOverFrames, normalise_over_frames, resnet_norms


def folded(frames, *, clips=2, memory=torch.contiguous_format):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(clips * frames, 32, 4, 3, generator=generator) * 3 + 1
    return x.contiguous(memory_format=memory)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("frames", [1, 5])
def test_statistics_over_frames_are_those_of_the_whole_clip(frames, memory, reference, randomised):
    norm = randomised(nn.GroupNorm(8, 32, eps=1e-5))
    x = folded(frames, memory=memory)
    video = rearrange(x, "(b f) c h w -> b c f h w", f=frames)
    expected = reference.over_groups(video, norm.weight, norm.bias, groups=8, eps=1e-5)
    NormsOverFrames([norm], clip=Clip(frames))
    actual = rearrange(norm(x), "(b f) c h w -> b c f h w", f=frames)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    if frames == 1:
        per_frame = reference.per_frame(video, norm.weight, norm.bias, groups=8, eps=1e-5)
        torch.testing.assert_close(actual, per_frame, atol=1e-5, rtol=1e-5)


def test_per_frame_is_what_an_image_model_does(reference, randomised):
    norm = randomised(nn.GroupNorm(8, 32, eps=1e-5))
    x = folded(5)
    video = rearrange(x, "(b f) c h w -> b c f h w", f=5)
    expected = reference.per_frame(video, norm.weight, norm.bias, groups=8, eps=1e-5)
    actual = rearrange(norm(x), "(b f) c h w -> b c f h w", f=5)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def test_removal_restores_the_norm_bit_for_bit(randomised):
    norm = randomised(nn.GroupNorm(8, 32))
    x = folded(5)
    expected = norm(x)
    over = NormsOverFrames([norm], clip=Clip(5))
    assert len(over) == 1
    assert not torch.allclose(norm(x), expected)
    over.remove()
    over.remove()
    assert torch.equal(norm(x), expected)


def test_version_1_normalises_resnets_and_output_over_frames_but_not_attentions(real_unet):
    unet = real_unet("sd15")
    over = normalise_over_frames(unet, clip=Clip())
    names = [
        name for name, m in unet.named_modules() if isinstance(m, nn.GroupNorm) and m._forward_hooks
    ]
    assert len(over) == len(names) == 2 * 22 + 1
    assert "conv_norm_out" in names
    assert all(".resnets." in name for name in names if name != "conv_norm_out")
    assert not any(".attentions." in name for name in names)


def test_no_global_of_torch_is_touched(small_unet):
    forward = nn.GroupNorm.forward
    normalise_over_frames(small_unet(), clip=Clip())
    assert nn.GroupNorm.forward is forward


def test_norms_are_listed_once(small_unet):
    norms = list(resnet_norms(small_unet()))
    assert len({id(norm) for norm in norms}) == len(norms)
