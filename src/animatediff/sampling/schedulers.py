"""The samplers: diffusers' schedulers, with the betas and spacing that the motion module trained for.

A scheduler is given the frames of a clip as its batch, so that each draws its own fresh noise.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.noise import step_generators
from animatediff.weights.families import Betas, Spacing


@dataclass(frozen=True)
class SamplerKind:
    """One way from noise to a picture.

    Attributes:
        label: what other programs call it in their metadata.
        home: the class in diffusers, imported only when chosen.
        options: its settings, besides the betas.
        noisy: whether its steps draw fresh noise.
        karras: whether its steps are spaced as in arXiv 2206.00364, Eq. 5.
        spaced: whether it lets its steps be spaced otherwise.
    """

    label: str
    home: str
    options: Mapping[str, Any]
    noisy: bool = False
    karras: bool = False
    spaced: bool = True

    def options_for(self, *, spacing: Spacing | None, lcm_steps: int) -> dict[str, Any]:
        """Its settings once a motion module's family has its say."""
        options = dict(self.options)
        if "original_inference_steps" in options:
            options["original_inference_steps"] = lcm_steps
        if spacing is not None and self.spaced:
            options["timestep_spacing"] = spacing
            if spacing == "leading":
                options["steps_offset"] = 1
        return options


LCM_STEPS = 100
"""The steps of diffusion that a latent consistency model was distilled from, unless it says so."""

_HOME = "diffusers.schedulers.scheduling_"

SAMPLERS: Mapping[str, SamplerKind] = {
    # The paper's sampler as its authors run it: the timesteps of 25 steps are 961, 921, ..., 1.
    "ddim": SamplerKind(
        "DDIM",
        f"{_HOME}ddim:DDIMScheduler",
        {
            "timestep_spacing": "leading",
            "steps_offset": 1,
            "set_alpha_to_one": True,
            "clip_sample": False,
        },
    ),
    "euler": SamplerKind("Euler", f"{_HOME}euler_discrete:EulerDiscreteScheduler", {}),
    "euler-a": SamplerKind(
        "Euler a",
        f"{_HOME}euler_ancestral_discrete:EulerAncestralDiscreteScheduler",
        {},
        noisy=True,
    ),
    "dpm++2m-karras": SamplerKind(
        "DPM++ 2M",
        f"{_HOME}dpmsolver_multistep:DPMSolverMultistepScheduler",
        {"algorithm_type": "dpmsolver++", "solver_order": 2, "use_karras_sigmas": True},
        karras=True,
    ),
    "unipc": SamplerKind("UniPC", f"{_HOME}unipc_multistep:UniPCMultistepScheduler", {}),
    # Its steps are some of those that the model was distilled from, so nothing else spaces them.
    "lcm": SamplerKind(
        "LCM",
        f"{_HOME}lcm:LCMScheduler",
        {"original_inference_steps": LCM_STEPS},
        noisy=True,
        spaced=False,
    ),
}


class Sampler:
    """A scheduler for one animation: it knows its steps, and where their fresh noise comes from.

    Args:
        kind: which scheduler.
        betas: the noise that the model was trained with.
        prediction: what the model predicts, in diffusers' words.
        steps: how many.
        seed: of fresh noise, for the kinds that draw any.
        device: where the latents are.
        spacing: which steps of diffusion are visited, where the model's family minds.
        lcm_steps: the steps that a latent consistency model was distilled from.
    """

    def __init__(
        self,
        kind: SamplerKind,
        *,
        betas: Betas,
        prediction: str,
        steps: int,
        seed: int,
        device: torch.device,
        spacing: Spacing | None = None,
        lcm_steps: int = LCM_STEPS,
    ) -> None:
        module, _, name = kind.home.partition(":")
        make = getattr(importlib.import_module(module), name)
        with warnings.catch_warnings():
            # Some make NumPy arrays of tensors in a way that NumPy 2 frowns upon.
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            self.scheduler: Any = make(
                num_train_timesteps=1000,
                beta_schedule=betas.schedule,
                beta_start=betas.start,
                beta_end=betas.end,
                prediction_type=prediction,
                **kind.options_for(spacing=spacing, lcm_steps=lcm_steps),
            )
            self.scheduler.set_timesteps(steps, device=device)
        self.kind = kind
        self.seed = seed
        self.prediction = prediction

    @property
    def timesteps(self) -> Tensor:
        """The noise levels at which the model is asked, from noise to picture."""
        return self.scheduler.timesteps

    def start(
        self,
        noise: Float[Tensor, "1 c f h w"],
        *,
        init: Float[Tensor, "1 c f h w"] | None = None,
        strength: float = 1.0,
    ) -> tuple[Float[Tensor, "1 c f h w"], int]:
        """The latents to begin with, and the first step to take.

        Args:
            noise: unit Gaussian noise.
            init: finished latents to begin from, for video-to-video and the like.
            strength: the share of the steps that is taken, at least one above 0; at 1 ``init`` does
                not count, at 0 the result is ``init``.
        """
        steps = len(self.timesteps)
        first = first_step(strength, steps=steps)
        if init is None or first == 0:
            return noise * self.scheduler.init_noise_sigma, 0
        if first == steps:
            return init, steps
        if hasattr(self.scheduler, "set_begin_index"):  # DDIM keeps no count of its own
            self.scheduler.set_begin_index(first)
        levels = self.timesteps[first : first + 1].expand(noise.shape[2])
        begun = self.scheduler.add_noise(_as_batch(init), _as_batch(noise), levels)
        return _as_clip(begun), first

    def kept_at(self, timestep: Tensor) -> Tensor:
        """The share of the signal's variance at a timestep (alpha-bar), between whole ones too."""
        kept = self.scheduler.alphas_cumprod.to(timestep.device)
        below = timestep.floor().long().clamp(0, len(kept) - 1)
        above = (below + 1).clamp(max=len(kept) - 1)
        ratio = (1 - kept) / kept
        # As samplers do it: the logarithm of the noise level is linear between two timesteps.
        level = torch.lerp(ratio[below].log(), ratio[above].log(), (timestep - below).float())
        return 1 / (1 + level.exp())

    def noised(
        self, latents: Float[Tensor, "1 c f h w"], noise: Float[Tensor, "1 c f h w"]
    ) -> Float[Tensor, "1 c f h w"]:
        """Finished latents with the most noise that the model was trained with, to start from."""
        alpha_bar = self.scheduler.alphas_cumprod[-1].to(latents)
        return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise

    def seen(
        self, latents: Float[Tensor, "1 c f h w"], timestep: Tensor
    ) -> Float[Tensor, "1 c f h w"]:
        """The latents as the model is to see them: at the variance of its training."""
        return self.scheduler.scale_model_input(latents, timestep)

    def step(
        self,
        noise: Float[Tensor, "1 c f h w"],
        timestep: Tensor,
        latents: Float[Tensor, "1 c f h w"],
        step: int,
    ) -> tuple[Float[Tensor, "1 c f h w"], Float[Tensor, "1 c f h w"]]:
        """The latents after a step, and what they become if the model is right at once."""
        num_frames = latents.shape[2]
        fresh: dict[str, Any] = {}
        if self.kind.noisy:
            fresh["generator"] = step_generators(self.seed, step=step, num_frames=num_frames)
        after = self.scheduler.step(_as_batch(noise), timestep, _as_batch(latents), **fresh)
        latents = _as_clip(after.prev_sample)
        guess = getattr(after, "pred_original_sample", None)
        guess = getattr(after, "denoised", None) if guess is None else guess
        return latents, latents if guess is None else _as_clip(guess)


def first_step(strength: float, *, steps: int) -> int:
    """The first step to take, so that a share ``strength`` of the steps is taken.

    Any strength above 0 takes one step at least.
    """
    return steps - max(round(strength * steps), 1 if strength > 0 else 0)


def _as_batch(clip: Float[Tensor, "1 c f h w"]) -> Float[Tensor, "f c h w"]:
    return rearrange(clip, "1 c f h w -> f c h w")


def _as_clip(batch: Float[Tensor, "f c h w"]) -> Float[Tensor, "1 c f h w"]:
    return rearrange(batch, "f c h w -> 1 c f h w")
