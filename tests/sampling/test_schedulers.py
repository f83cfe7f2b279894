"""The samplers: the authors' timesteps, and a perfect model brings back the picture."""

from __future__ import annotations

import pytest
import torch

from animatediff.sampling.schedulers import SAMPLERS, Sampler
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


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("name", ["ddim", "euler", "dpm++2m-karras", "unipc"])
def test_a_model_that_knows_the_picture_ends_there(name: str, prediction: str) -> None:
    walk = sampler(name, prediction=prediction)
    picture = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    alphas = walk.scheduler.alphas_cumprod
    latents = walk.start(torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(2)))
    for step, timestep in enumerate(walk.timesteps):
        low, high = int(timestep), min(int(timestep) + 1, 999)
        part = float(timestep) - low
        # Some samplers stop between timesteps; so does this model's knowledge of the noise there.
        sigma = ((1 - alphas) / alphas).sqrt()
        spread = sigma[low].log() * (1 - part) + sigma[high].log() * part
        alpha = 1 / (1 + (2 * spread).exp())
        seen = walk.seen(latents, timestep)
        noise = (seen - alpha.sqrt() * picture) / (1 - alpha).sqrt()
        answer = (
            noise
            if prediction == "epsilon"
            else alpha.sqrt() * noise - (1 - alpha).sqrt() * picture
        )
        latents, _ = walk.step(answer, timestep, latents, step)
    assert torch.allclose(latents, picture, atol=0.05)
