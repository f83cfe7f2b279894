"""The autoencoder's stage: a start that keeps colours, a frozen encoder, exact standardising."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from animatediff.world.stages.autoencoder import AutoencoderLesson, begin_as_blur
from animatediff.world.stages.image_stages import standardise


@pytest.fixture
def autoencoder() -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def test_standardised_latents_have_unit_variance_and_the_same_pictures(
    autoencoder: AutoencoderKL,
) -> None:
    pictures = torch.rand(6, 3, 16, 16) * 2 - 1
    with torch.no_grad():
        before = autoencoder.decode(autoencoder.encode(pictures).latent_dist.mean).sample
        spread = autoencoder.encode(pictures).latent_dist.std.mean()
        scale = autoencoder.encode(pictures).latent_dist.mean
        standardise(autoencoder, pictures)
        posterior = autoencoder.encode(pictures).latent_dist
        after = autoencoder.decode(posterior.mean).sample
    assert torch.allclose(before, after, atol=1e-4)
    assert posterior.mean.mean((0, 2, 3)).abs().max() < 1e-4
    assert posterior.mean.std() == pytest.approx(1, abs=0.01)
    centred = scale - scale.mean((0, 2, 3), keepdim=True)
    assert posterior.std.mean() == pytest.approx(float(spread / centred.std()), rel=1e-3)
    assert autoencoder.config["scaling_factor"] == 1.0


def test_learning_only_the_decoder_leaves_every_latent_as_it_is(autoencoder: AutoencoderKL) -> None:
    pictures = torch.randint(0, 256, (4, 16, 16, 4), dtype=torch.uint8).numpy()
    lesson = AutoencoderLesson(autoencoder, pictures, decoder_only=True)
    lesson.losses(torch.arange(4), torch.Generator().manual_seed(0))["loss"].backward()
    assert all(p.grad is None for p in autoencoder.encoder.parameters())
    assert any(p.grad is not None for p in autoencoder.decoder.parameters())


def test_a_fresh_autoencoder_keeps_colours_apart(autoencoder: AutoencoderKL) -> None:
    begin_as_blur(autoencoder)
    red_left = torch.full((1, 3, 16, 16), -1.0)
    red_left[:, 0, :, :8] = 1
    with torch.no_grad():
        drawn = autoencoder.decode(autoencoder.encode(red_left).latent_dist.mean).sample
    left, right = drawn[0, :, :, :8].mean((1, 2)), drawn[0, :, :, 8:].mean((1, 2))
    assert (left - right)[0] > (left - right)[1:].max()
