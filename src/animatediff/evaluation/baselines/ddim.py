"""DDIM (arXiv 2010.02502) as both baselines use it: towards the picture, and back to noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from animatediff.sampling.steps import inversion

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


def inverted(latents: Tensor, scheduler: DDIMScheduler, predict: Predict) -> Tensor:
    """The noise from which DDIM would draw ``latents``, over the timesteps of a scheduler."""
    times = scheduler.timesteps.flip(0)
    return inversion.inverted(
        latents,
        kept=[scheduler.final_alpha_cumprod, *scheduler.alphas_cumprod[times]],
        predict=lambda now, level: predict(now, times[level - 1]),
        prediction=str(scheduler.config["prediction_type"]),
    )
