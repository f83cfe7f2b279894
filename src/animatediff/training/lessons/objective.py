"""The diffusion objective: how latents are noised, and what the denoiser predicts (Eq. 1, 2, 5).

Images and clips share it. A clip has one timestep and independent noise in every frame (arXiv
2307.04725, Sec. 4.2), so its latents just have one more axis.
"""

from __future__ import annotations

from typing import Literal

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor

Prediction = Literal["epsilon", "v_prediction"]
"""What a denoiser predicts, in diffusers' words."""


def alphas_bar(
    *, start: float, end: float, steps: int = 1000, schedule: str = "linear"
) -> Float[Tensor, " steps"]:
    """Return the share of signal (alpha bar) at each timestep.

    ``linear`` spaces beta evenly, as AnimateDiff's motion training does; ``scaled_linear`` spaces
    its square root, as Stable Diffusion's image training does.
    """
    if schedule == "linear":
        betas = torch.linspace(start, end, steps, dtype=torch.float64)
    elif schedule == "scaled_linear":
        betas = torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2
    else:
        raise ValueError(f"Unknown beta schedule {schedule!r}; use linear or scaled_linear.")
    return (1 - betas).cumprod(0).float()


def noised(
    latents: Float[Tensor, "batch ..."],
    noise: Float[Tensor, "batch ..."],
    alpha_bar: Float[Tensor, " batch"],
) -> Float[Tensor, "batch ..."]:
    """Return z_t, the noised latents (Eq. 1)."""
    a = alpha_bar.reshape(-1, *[1] * (latents.ndim - 1))
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def velocity(
    latents: Float[Tensor, "batch ..."],
    noise: Float[Tensor, "batch ..."],
    alpha_bar: Float[Tensor, " batch"],
) -> Float[Tensor, "batch ..."]:
    """Return the velocity (arXiv 2202.00512, Sec. 4): noise minus picture.

    It describes the same noise, weighted so that the coarse picture, which a prediction of the
    noise learns last, counts at every timestep.
    """
    a = alpha_bar.reshape(-1, *[1] * (latents.ndim - 1))
    return a.sqrt() * noise - (1 - a).sqrt() * latents


def clean(
    noisy: Float[Tensor, "batch ..."],
    predicted: Float[Tensor, "batch ..."],
    alpha_bar: Float[Tensor, " batch"],
    prediction: Prediction,
) -> Float[Tensor, "batch ..."]:
    """Return the clean latents that a prediction implies: Eq. 1 solved for them."""
    a = alpha_bar.reshape(-1, *[1] * (noisy.ndim - 1))
    if prediction == "v_prediction":
        return a.sqrt() * noisy - (1 - a).sqrt() * predicted
    return (noisy - (1 - a).sqrt() * predicted) / a.sqrt()


def offset_noise(
    noise: Float[Tensor, "batch c f h w"], *, strength: float, generator: torch.Generator
) -> Float[Tensor, "batch c f h w"]:
    """Draw noise with a common shift per clip, so that very dark and bright clips are learned.

    There is one shift per clip and channel, the same in all frames.
    """
    shift = torch.randn(*noise.shape[:2], 1, 1, 1, generator=generator)
    return noise + strength * shift


def without_appearance(
    frames: Float[Tensor, "batch c f h w"], anchor: int, *, beta: float = 1.0
) -> Float[Tensor, "batch c f h w"]:
    """Subtract one frame's noise from all frames of a clip (arXiv 2310.08465, Eq. 8).

    Frames share their appearance, so mostly motion is left.
    """
    alpha = (beta**2 + 1) ** 0.5
    return alpha * frames - beta * frames[:, :, anchor : anchor + 1]


def min_snr_weight(
    alpha_bar: Float[Tensor, " batch"], *, gamma: float, prediction: Prediction = "epsilon"
) -> Float[Tensor, " batch"]:
    """Return the min-SNR weight (arXiv 2303.09556, Sec. 3.4): for noise, min(SNR, gamma) / SNR.

    A velocity's squared error is SNR + 1 times that of the latents; that of noise is SNR times.
    """
    snr = alpha_bar / (1 - alpha_bar)
    return snr.clamp(max=gamma) / (snr + 1 if prediction == "v_prediction" else snr)


def denoising_loss(
    predicted: Float[Tensor, "batch ..."],
    target: Float[Tensor, "batch ..."],
    weight: Float[Tensor, " batch"] | None = None,
) -> Float[Tensor, ""]:
    """Return the mean squared error of the predicted noise (Eq. 2 for images, Eq. 5 for clips)."""
    error = reduce((predicted.float() - target.float()).square(), "b ... -> b", "mean")
    return (error if weight is None else error * weight).mean()


def random_timesteps(
    count: int, *, total: int, generator: torch.Generator, first: int = 0
) -> Int[Tensor, " count"]:
    """Draw timesteps from ``first`` to below ``total``: one in each of ``count`` equal ranges.

    Each is uniform on its own. Stratified together, in a random order, they make the loss of a
    small batch less noisy.
    """
    offsets = (torch.arange(count) + torch.rand(count, generator=generator)) / count
    order = torch.randperm(count, generator=generator)
    return (first + offsets * (total - first)).long().clamp(max=total - 1)[order]
