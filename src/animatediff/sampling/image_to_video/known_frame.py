"""A frame that is known: its noise is computed instead of predicted, so that it ends as its latents."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.ask import Ask, Latents, PredictNoise
from animatediff.weights.families import Betas

STEPS = 1000


def with_known_frame(
    predict_noise: PredictNoise,
    *,
    frame: int,
    latents: Float[Tensor, "1 c 1 h w"],
    betas: Betas,
    prediction: str,
) -> PredictNoise:
    """Answer for one frame what a perfect model would, whatever the model predicts.

    With z the known latents and x = sqrt(alpha) z + sqrt(1 - alpha) noise the noisy ones, the noise
    follows from both, so every sampler ends at z. The other frames attend to it at every step.

    Args:
        predict_noise: the model and all that is wrapped around it; this wrapper is the outermost.
        frame: the known frame.
        latents: what it shows.
        betas: the noise schedule.
        prediction: what the model predicts, in diffusers' words.

    Raises:
        InputError: the model predicts something else than noise, velocity or the sample.
    """
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise InputError(
            f"The image model predicts {prediction!r:.40}, from which a frame cannot be held; use "
            "--no-image-pinned."
        )
    sigmas = noise_levels(betas)

    def predict(ask: Ask) -> Latents:
        predicted = predict_noise(ask)
        there = (ask.frames == frame).nonzero().flatten()
        if not len(there):
            return predicted
        at = there.to(predicted.device)
        known = latents.to(predicted)
        alpha = signal(sigmas, float(ask.timestep))
        root, rest = alpha**0.5, (1 - alpha) ** 0.5
        noise = (ask.latents[:, :, at].to(predicted) - root * known) / rest
        answer = {
            "epsilon": noise,
            "v_prediction": root * noise - rest * known,
            "sample": known.expand_as(noise),
        }[prediction]
        return predicted.index_copy(2, at, answer)

    return predict


def noise_levels(betas: Betas) -> Float[Tensor, " steps"]:
    """The ratio of noise to signal at each of the 1,000 timesteps."""
    if betas.schedule == "linear":
        each = torch.linspace(betas.start, betas.end, STEPS, dtype=torch.float64)
    else:
        each = torch.linspace(betas.start**0.5, betas.end**0.5, STEPS, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - each, dim=0)
    return ((1 - alphas) / alphas).sqrt()


def signal(sigmas: Float[Tensor, " steps"], timestep: float) -> float:
    """The share of the signal in the variance at a timestep, which may lie between two."""
    low = min(max(int(timestep), 0), STEPS - 2)
    share = timestep - low
    sigma = float(sigmas[low] + share * (sigmas[low + 1] - sigmas[low]))
    return 1 / (1 + sigma**2)
