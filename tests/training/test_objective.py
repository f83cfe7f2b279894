"""The objective: Eq. 1 and 2 of the paper, its betas and weights."""

from __future__ import annotations

import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from animatediff.runtime import seeded
from animatediff.training.objective import (
    alphas_bar,
    denoising_loss,
    min_snr_weight,
    noised,
    random_timesteps,
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
    latents, noise = torch.randn(2, 64, 3, 16, 16), torch.randn(2, 64, 3, 16, 16)
    mixed = noised(latents, noise, torch.tensor([0.9, 0.1]))
    assert mixed.std() == pytest.approx(1, abs=0.02)
    assert torch.allclose(mixed[1], 0.1**0.5 * latents[1] + 0.9**0.5 * noise[1])


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
