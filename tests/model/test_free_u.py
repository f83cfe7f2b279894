"""FreeU: equal to a few lines of NumPy, where it belongs, and gone when removed."""

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.utils.torch_utils import fourier_filter

from animatediff.model.free_u import (
    SD15,
    FreeU,
    FreeUFactors,
    decoder_joints,
    low_pass_scaled,
    strengthened,
)


def features() -> torch.Tensor:
    return torch.randn(2, 6, 8, 10, generator=torch.Generator().manual_seed(0))


def test_low_frequencies_equal_diffusers_filter():
    got = low_pass_scaled(features(), factor=0.4)
    expected = fourier_filter(features(), threshold=1, scale=0.4)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_backbone_equals_a_few_lines_of_numpy(version):
    x = features().numpy()
    expected = x.copy()
    for sample in range(2):
        by = 1.5
        if version == "v2":
            mean = x[sample].mean(axis=0)
            by = 0.5 * (mean - mean.min()) / (mean.max() - mean.min()) + 1
        expected[sample, :3] = x[sample, :3] * by
    got = strengthened(features(), factor=1.5, version=version)
    np.testing.assert_allclose(got.numpy(), expected, atol=1e-5)


def new_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 96, 96),
        norm_num_groups=16,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        layers_per_block=2,
        cross_attention_dim=32,
        attention_head_dim=4,
    ).eval()


def test_factors_are_chosen_by_width_as_the_authors_do():
    """Output blocks 0 to 6 have Stable Diffusion's widest features, 7 to 9 those half as wide."""
    widths = [width for _, width in decoder_joints(new_unet())]
    assert widths == [96] * 7 + [64] * 3 + [32] * 2


def run(unet, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, 8, 8, generator=generator, dtype=torch.float32)
    text = torch.randn(1, 5, 32, generator=generator)
    with torch.inference_mode():
        return unet(latents.to(dtype), torch.tensor(300), text.to(dtype)).sample


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_it_changes_the_prediction_and_is_removed_bit_for_bit(version):
    unet = new_unet()
    plain = run(unet)
    free_u = FreeU(unet, SD15, version=version)
    assert (run(unet) - plain).abs().max() > 1e-3
    free_u.remove()
    assert torch.equal(run(unet), plain)


def test_factors_of_one_change_nothing_at_all():
    unet = new_unet()
    plain = run(unet)
    FreeU(unet, FreeUFactors((1, 1), (1, 1)))
    assert torch.equal(run(unet), plain)


def test_it_runs_in_half_precision():
    unet = new_unet().to(torch.bfloat16)
    FreeU(unet, SD15)
    assert run(unet, torch.bfloat16).isfinite().all()
