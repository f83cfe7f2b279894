"""Extra input channels: a graft on the first convolution, given values by the ask."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from einops import rearrange
from tests.tiny_models import new_unet
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.extra_channels import ExtraChannels, graft_extra_channels
from animatediff.sampling.around.extra_channels import with_extra_channels
from animatediff.sampling.around.windows import over_windows
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.windows.plan import WindowPlan

FRAMES, EXTRA = 6, 5


@pytest.fixture
def unet() -> AnimatedUNet:
    torch.manual_seed(0)
    return AnimatedUNet(new_unet())


@pytest.fixture
def nine(unet: AnimatedUNet) -> nn.Conv2d:
    """A first convolution of nine channels, as in inpainting and in PIA."""
    torch.manual_seed(1)
    conv = nn.Conv2d(4 + EXTRA, unet.unet.conv_in.out_channels, 3, padding=1)
    with torch.no_grad():
        unet.unet.conv_in.weight.copy_(conv.weight[:, :4])
        assert unet.unet.conv_in.bias is not None
        assert conv.bias is not None
        unet.unet.conv_in.bias.copy_(conv.bias)
    return conv


@pytest.fixture
def ask() -> Ask:
    latents = torch.randn(1, 4, FRAMES, 4, 4, generator=torch.Generator().manual_seed(2))
    return Ask(latents, torch.tensor(500), 0, WITH_PROMPT, torch.arange(FRAMES))


def planes(ask: Ask) -> Tensor:
    """Something else for each frame of the animation."""
    every = torch.randn(1, EXTRA, FRAMES, 4, 4, generator=torch.Generator().manual_seed(3))
    return every[:, :, ask.frames].expand(len(ask.latents), -1, -1, -1, -1)


def prediction_of(unet: AnimatedUNet, ask: Ask) -> Tensor:
    return unet(ask.latents, ask.timestep, torch.ones(len(ask.latents), 3, 32))


@torch.inference_mode()
def test_a_model_of_nine_channels_is_one_of_four_and_a_graft(
    unet: AnimatedUNet, nine: nn.Conv2d, ask: Ask
) -> None:
    plain = prediction_of(unet, ask)
    names = list(unet.unet.state_dict())
    graft, branch = graft_extra_channels(unet.unet.conv_in, nine.weight[:, 4:])
    predict = with_extra_channels(
        lambda asked: prediction_of(unet, asked), branch=branch, extra=planes
    )
    ours = predict(ask)
    graft.remove()
    assert torch.equal(prediction_of(unet, ask), plain)
    assert list(unet.unet.state_dict()) == names
    whole = torch.cat([ask.latents, planes(ask)], dim=1)
    unet.unet.conv_in = nine
    frames = rearrange(whole, "1 c f h w -> f c h w")
    theirs = unet.unet(frames, ask.timestep, torch.ones(FRAMES, 3, 32)).sample
    theirs = rearrange(theirs, "f c h w -> 1 c f h w")
    assert torch.allclose(ours, theirs, atol=1e-5)
    assert not torch.allclose(ours, plain, atol=1e-2)


@torch.inference_mode()
def test_each_window_and_each_row_is_given_its_own_frames(
    unet: AnimatedUNet, nine: nn.Conv2d, ask: Ask
) -> None:
    _, branch = graft_extra_channels(unet.unet.conv_in, nine.weight[:, 4:])

    def first_layer(asked: Ask) -> Tensor:
        folded = rearrange(asked.latents, "b c f h w -> (b f) c h w")
        out = unet.unet.conv_in(folded)
        return rearrange(out[:, :4], "(b f) c h w -> b c f h w", f=asked.latents.shape[2])

    predict = with_extra_channels(first_layer, branch=branch, extra=planes)
    plan = WindowPlan(FRAMES, length=4, overlap=2)
    assert torch.allclose(over_windows(predict, plan=plan)(ask), predict(ask), atol=1e-5)
    two = replace(ask, latents=ask.latents.expand(2, -1, -1, -1, -1))
    assert torch.allclose(predict(two), predict(ask).expand(2, -1, -1, -1, -1), atol=1e-6)


def test_channels_without_values_and_weights_that_do_not_fit_are_refused(
    unet: AnimatedUNet, nine: nn.Conv2d, ask: Ask
) -> None:
    with pytest.raises(InputError, match="only the number of input channels may differ"):
        ExtraChannels(nine.weight[:3], host=unet.unet.conv_in)
    graft_extra_channels(unet.unet.conv_in, nine.weight[:, 4:])
    with pytest.raises(InputError, match="5 extra input channels, and 0 frames"):
        prediction_of(unet, ask)
