"""The objective: Eq. 1 and 2 of the paper, its betas and weights."""

from __future__ import annotations

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from animatediff.runtime import seeded
from animatediff.training.lessons.objective import (
    alphas_bar,
    clean,
    denoising_loss,
    min_snr_weight,
    noised,
    offset_noise,
    random_timesteps,
    velocity,
    without_appearance,
)


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_the_signal_left_is_what_the_sampler_assumes(schedule: str) -> None:
    sampler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule=schedule)
    ours = alphas_bar(start=0.00085, end=0.012, schedule=schedule)
    assert torch.allclose(ours, sampler.alphas_cumprod, atol=1e-5)


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(ValueError, match="'cubic'"):
        alphas_bar(start=0.1, end=0.2, schedule="cubic")


def test_noised_latents_keep_unit_variance_and_one_timestep_for_a_clip() -> None:
    latents, noise = torch.randn(2, 2, 64, 3, 16, 16, generator=seeded("noised"))
    mixed = noised(latents, noise, torch.tensor([0.9, 0.1]))
    assert mixed.std() == pytest.approx(1, abs=0.02)
    # Where the two cancel, single precision leaves an error of a few 1e-7.
    assert torch.allclose(mixed[1], 0.1**0.5 * latents[1] + 0.9**0.5 * noise[1], atol=1e-6)


def test_a_weighted_loss_counts_each_sample_by_its_weight() -> None:
    noise = torch.zeros(2, 4)
    predicted = torch.tensor([[1.0] * 4, [2.0] * 4])
    assert denoising_loss(predicted, noise) == pytest.approx(2.5)
    assert denoising_loss(predicted, noise, torch.tensor([1.0, 0.0])) == pytest.approx(0.5)


def test_min_snr_leaves_noisy_steps_alone_and_caps_clean_ones() -> None:
    alpha_bar = torch.tensor([0.5, 0.99])
    weight = min_snr_weight(alpha_bar, gamma=5.0)
    assert weight[0] == 1
    assert weight[1] == pytest.approx(5 / 99, rel=1e-4)


def test_timesteps_of_a_batch_are_spread_over_all() -> None:
    drawn = random_timesteps(10, total=1000, generator=seeded(0))
    assert sorted(int(t) // 100 for t in drawn) == list(range(10))
    late = random_timesteps(10, total=1000, generator=seeded(0), first=500)
    assert sorted((int(t) - 500) // 50 for t in late) == list(range(10))


def test_a_perfect_prediction_of_either_kind_gives_the_latents_back() -> None:
    latents, noise = torch.randn(2, 3, 4, 2, 5, 5, generator=seeded("clean"))
    alpha_bar = torch.tensor([0.9, 0.5, 0.2])
    noisy = noised(latents, noise, alpha_bar)
    assert torch.allclose(clean(noisy, noise, alpha_bar, "epsilon"), latents, atol=1e-5)
    asked = velocity(latents, noise, alpha_bar)
    assert torch.allclose(clean(noisy, asked, alpha_bar, "v_prediction"), latents, atol=1e-5)


def test_min_snr_weighs_the_latents_alike_whatever_is_predicted() -> None:
    """An error d of the latents is one of sqrt(snr) d of noise and sqrt(snr + 1) d of velocity."""
    alpha_bar = torch.tensor([0.05, 0.5, 0.99])
    snr = alpha_bar / (1 - alpha_bar)
    noise = min_snr_weight(alpha_bar, gamma=5.0) * snr
    speed = min_snr_weight(alpha_bar, gamma=5.0, prediction="v_prediction") * (snr + 1)
    assert torch.allclose(noise, speed)


def test_what_all_frames_share_is_not_in_the_loss_without_appearance() -> None:
    look = torch.randn(2, 4, 1, 5, 5, generator=seeded("look")).expand(-1, -1, 6, -1, -1)
    left = without_appearance(look, 3)
    assert torch.allclose(left, (2**0.5 - 1) * look)
    moved = torch.randn(2, 4, 6, 5, 5, generator=seeded("moved"))
    assert without_appearance(moved, 3)[:, :, :3].std() == pytest.approx(3**0.5, abs=0.1)


def test_offset_noise_shifts_all_frames_of_a_clip_alike() -> None:
    noise = torch.zeros(3, 4, 5, 2, 2)
    shifted = offset_noise(noise, strength=0.5, generator=seeded("offset"))
    assert torch.equal(shifted, shifted[:, :, :1, :1, :1].expand_as(shifted))
    assert len(shifted[:, :, 0, 0, 0].unique()) == 12
