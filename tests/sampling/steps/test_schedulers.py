"""The samplers: the authors' timesteps, and a perfect model brings back the picture."""

from __future__ import annotations

import pytest
import torch

from animatediff.sampling.ask import Ask
from animatediff.sampling.steps.denoise import denoise
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.sampler_names import SCHEDULER_NAMES
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import Betas


def sampler(name: str, *, steps: int = 25, prediction: str = "epsilon") -> Sampler:
    return Sampler(
        SAMPLERS[name],
        betas=Betas(),
        prediction=prediction,
        steps=steps,
        seed=0,
        device=torch.device("cpu"),
    )


def test_ddim_walks_the_timesteps_of_the_authors_to_a_clean_picture() -> None:
    ddim = sampler("ddim")
    assert [int(t) for t in ddim.timesteps] == list(range(961, 0, -40))
    assert ddim.scheduler.final_alpha_cumprod == 1.0


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def alpha_at(walk: Sampler, timestep: float) -> torch.Tensor:
    """The share of signal at a timestep; some samplers stop between two."""
    alphas = walk.scheduler.alphas_cumprod
    low, high = int(timestep), min(int(timestep) + 1, 999)
    part = timestep - low
    sigma = ((1 - alphas) / alphas).sqrt()
    spread = sigma[low].log() * (1 - part) + sigma[high].log() * part
    return 1 / (1 + (2 * spread).exp())


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++2m-karras", "unipc"])
def test_a_model_that_knows_the_picture_ends_there(name: str, prediction: str) -> None:
    walk = sampler(name, prediction=prediction)
    picture = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(2))
    latents, _ = walk.start(noise)
    for step, timestep in enumerate(walk.timesteps):
        alpha = alpha_at(walk, float(timestep))
        seen = walk.seen(latents, timestep)
        noise = (seen - alpha.sqrt() * picture) / (1 - alpha).sqrt()
        answer = (
            noise
            if prediction == "epsilon"
            else alpha.sqrt() * noise - (1 - alpha).sqrt() * picture
        )
        latents, _ = walk.step(answer, timestep, latents, step)
    assert torch.allclose(latents, picture, atol=0.05)


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_every_sampler_ends_with_numbers_and_repeats_itself(name: str) -> None:
    """After two steps, and after three, of which the last ones may be of third order."""
    noise = torch.randn(1, 4, 2, 4, 4, generator=generator(1))

    def made(steps: int) -> torch.Tensor:
        walk = sampler(name, steps=steps)
        latents, first = walk.start(noise)
        return denoise(
            latents,
            first=first,
            predict_noise=lambda ask: torch.tanh(ask.latents),
            sampler=walk,
            on_step=lambda step, guess: None,
            should_stop=lambda: False,
        )

    for steps in (2, 3):
        assert made(steps).isfinite().all()
        assert torch.equal(made(steps), made(steps))
    assert not torch.equal(made(2), made(3))


@pytest.mark.parametrize("name", ["ddim", "euler", "dpm2", "unipc"])
def test_samplers_of_one_kind_share_nothing(name: str) -> None:
    first, alone = sampler(name, steps=4), sampler(name, steps=4)
    sampler(name, steps=7)
    assert torch.equal(first.timesteps, alone.timesteps)
    assert first.timesteps is not alone.timesteps


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_at_strength_one_a_clip_to_begin_with_does_not_count(name: str) -> None:
    noise, init = (torch.randn(1, 4, 2, 4, 4, generator=generator(seed)) for seed in (1, 2))
    alone, _ = sampler(name).start(noise)
    latents, first = sampler(name).start(noise, init=init, strength=1.0)
    assert (first, torch.equal(latents, alone)) == (0, True)


@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_at_strength_zero_the_clip_to_begin_with_is_the_result(name: str) -> None:
    walk = sampler(name)
    noise, init = (torch.randn(1, 4, 2, 4, 4, generator=generator(seed)) for seed in (1, 2))
    latents, first = walk.start(noise, init=init, strength=0.0)
    made = denoise(
        latents,
        first=first,
        predict_noise=lambda ask: pytest.fail("there is no step to take"),
        sampler=walk,
        on_step=lambda step, guess: pytest.fail("there is no step to take"),
        should_stop=lambda: False,
    )
    assert torch.equal(made, init)


@pytest.mark.parametrize("strength", [0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", SCHEDULER_NAMES)
def test_in_between_the_rest_of_the_steps_lead_back_to_the_clip(name: str, strength: float) -> None:
    """The model knows the noise that was added, so that every later step agrees with the clip."""
    walk = sampler(name, steps=10)
    noise, init = (torch.randn(1, 4, 2, 4, 4, generator=generator(seed)) for seed in (1, 2))
    latents, first = walk.start(noise, init=init, strength=strength)
    assert first == 10 - round(strength * 10)
    taken: list[int] = []

    def predict_noise(ask: Ask) -> torch.Tensor:
        taken.append(ask.step)
        alpha = alpha_at(walk, float(ask.timestep))
        return (ask.latents - alpha.sqrt() * init) / (1 - alpha).sqrt()

    made = denoise(
        latents,
        first=first,
        predict_noise=predict_noise,
        sampler=walk,
        on_step=lambda step, guess: None,
        should_stop=lambda: False,
    )
    assert list(dict.fromkeys(taken)) == list(range(first, 10))
    assert torch.allclose(made, init, atol=0.05)
