"""DDIM (arXiv 2010.02502) as both baselines use it: towards the picture, and back to noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

Predict = Callable[[Tensor, Tensor], Tensor]
"""What the model predicts, noise or velocity, from latents and their timestep."""


def ddim(config: Mapping[str, Any]) -> DDIMScheduler:
    """Stable Diffusion's DDIM for a model that was trained with the noise of ``config``."""
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler

    names = ("num_train_timesteps", "beta_schedule", "beta_start", "beta_end", "prediction_type")
    settings = {name: config[name] for name in names if name in config}
    return DDIMScheduler(**settings, set_alpha_to_one=False, steps_offset=1, clip_sample=False)


@torch.inference_mode()
def inverted(latents: Tensor, scheduler: DDIMScheduler, predict: Predict) -> Tensor:
    """The noise from which DDIM would draw ``latents`` (DDIM inversion), as Tune-A-Video computes it.

    Each prediction is made at the noisier of two neighbouring timesteps from the cleaner latents.
    """
    stride = int(scheduler.config["num_train_timesteps"]) // len(scheduler.timesteps)
    for time in reversed(scheduler.timesteps):
        before = int(time) - stride
        now = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
        then = scheduler.alphas_cumprod[int(time)]
        noise = _as_noise(predict(latents, time), latents, then, scheduler)
        clean = (latents - (1 - now).sqrt() * noise) / now.sqrt()
        latents = then.sqrt() * clean + (1 - then).sqrt() * noise
    return latents


def _as_noise(predicted: Tensor, latents: Tensor, kept: Tensor, scheduler: DDIMScheduler) -> Tensor:
    """The noise that a prediction stands for, where the model predicts velocities."""
    if scheduler.config["prediction_type"] == "v_prediction":
        return kept.sqrt() * predicted + (1 - kept).sqrt() * latents
    return predicted
