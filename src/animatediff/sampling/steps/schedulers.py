"""The samplers: diffusers' schedulers, with the betas and spacing that the motion module trained for.

A scheduler is given the frames of a clip as its batch, so that each draws its own fresh noise.
"""

from __future__ import annotations

import copy
import functools
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.sampling.steps.noise import step_generators
from animatediff.sampling.steps.sampler_kinds import LCM_STEPS, SamplerKind
from animatediff.sampling.steps.third_order import mend_third_order
from animatediff.weights.families import Betas, Spacing
from animatediff.weights.image_model.networks import import_scheduler


class Sampler:
    """A scheduler for one animation: it knows its steps, and where their fresh noise comes from.

    Args:
        kind: which scheduler.
        betas: the noise that the model was trained with.
        prediction: what the model predicts, in diffusers' words.
        steps: how many.
        seed: of fresh noise, for the kinds that draw any.
        device: where the latents are.
        spacing: spacing of the timesteps, if the motion module's family requires one.
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
        options = kind.options_for(spacing=spacing, lcm_steps=lcm_steps)
        new = _new_scheduler(kind.home, betas, prediction, tuple(options.items()))
        self.scheduler: Any = copy.deepcopy(new)
        with _arrays_of_tensors():
            self.scheduler.set_timesteps(steps, device=device)
        self.kind = kind
        self.steps = steps
        self._taken = 0
        self.seed = seed
        self.prediction = prediction

    @property
    def timesteps(self) -> Tensor:
        """Timesteps of the model evaluations, from noise to picture.

        There are ``evaluations`` of them for each step, but for the last.
        """
        return self.scheduler.timesteps

    @property
    def evaluations(self) -> int:
        """Model evaluations in each step; the last step has one."""
        return self.kind.evaluations

    def levels(self) -> list[tuple[float, float]]:
        """The noise level before and after each step of DDIM or Euler: the noise by the signal."""
        if hasattr(self.scheduler, "sigmas"):
            return list(pairwise(map(float, self.scheduler.sigmas)))
        kept, last = self.scheduler.alphas_cumprod, self.scheduler.final_alpha_cumprod
        stride = len(kept) // self.steps
        found: list[tuple[float, float]] = []
        for time in map(int, self.timesteps):
            pair = kept[time], kept[time - stride] if time >= stride else last
            before, after = (float(((1 - share) / share).sqrt()) for share in pair)
            found.append((before, after))
        return found

    def picture(
        self,
        seen: Float[Tensor, "1 c f h w"],
        predicted: Float[Tensor, "1 c f h w"],
        timestep: Tensor,
    ) -> Float[Tensor, "1 c f h w"]:
        """The clean latents that a prediction stands for, from latents as the model sees them."""
        kept = self.kept_at(timestep).to(seen)
        if self.prediction == "v_prediction":
            return kept.sqrt() * seen - (1 - kept).sqrt() * predicted
        return (seen - (1 - kept).sqrt() * predicted) / kept.sqrt()

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
        steps = self.steps
        first = first_step(strength, steps=steps)
        if init is None or first == 0:
            return noise * self.scheduler.init_noise_sigma, 0
        if first == steps:
            return init, steps
        if hasattr(self.scheduler, "set_begin_index"):  # DDIM keeps no count of its own
            self.scheduler.set_begin_index(first * self.evaluations)
        index = first * self.evaluations
        levels = self.timesteps[index : index + 1].expand(noise.shape[2])
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
        index: int,
    ) -> tuple[Float[Tensor, "1 c f h w"], Float[Tensor, "1 c f h w"]]:
        """The latents after an evaluation, and what they become if the model is right at once."""
        num_frames = latents.shape[2]
        fresh: dict[str, Any] = {}
        if self.kind.noisy:
            fresh["generator"] = step_generators(self.seed, step=index, num_frames=num_frames)
        if self.kind.memory:
            # Begun in between, it would count steps that were never taken.
            self._taken += 1
            fresh["order"] = min(self.kind.memory, self._taken)
        with _arrays_of_tensors():
            after = self.scheduler.step(_as_batch(noise), timestep, _as_batch(latents), **fresh)
        latents = _as_clip(after.prev_sample)
        guess = getattr(after, "pred_original_sample", None)
        guess = getattr(after, "denoised", None) if guess is None else guess
        return latents, latents if guess is None else _as_clip(guess)


@functools.lru_cache(maxsize=32)
def _new_scheduler(
    home: str, betas: Betas, prediction: str, options: tuple[tuple[str, Any], ...]
) -> Any:
    """Return a scheduler of diffusers, to be copied: some take 0.2 s to make."""
    module, _, name = home.partition(":")
    make = getattr(import_scheduler(module), name)
    with _arrays_of_tensors():
        made = make(
            num_train_timesteps=1000,
            beta_schedule=betas.schedule,
            beta_start=betas.start,
            beta_end=betas.end,
            prediction_type=prediction,
            **dict(options),
        )
    if ("algorithm_type", "sde-dpmsolver++") in options and ("solver_order", 3) in options:
        mend_third_order(made)
    return made


@contextmanager
def _arrays_of_tensors() -> Generator[None]:
    """Some schedulers make NumPy arrays of tensors in a way that NumPy 2 frowns upon."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
        yield


def first_step(strength: float, *, steps: int) -> int:
    """The first step to take, so that a share ``strength`` of the steps is taken.

    Any strength above 0 takes one step at least.
    """
    return steps - max(round(strength * steps), 1 if strength > 0 else 0)


def _as_batch(clip: Float[Tensor, "1 c f h w"]) -> Float[Tensor, "f c h w"]:
    return rearrange(clip, "1 c f h w -> f c h w")


def _as_clip(batch: Float[Tensor, "f c h w"]) -> Float[Tensor, "1 c f h w"]:
    return rearrange(batch, "f c h w -> 1 c f h w")
