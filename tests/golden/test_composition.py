"""An animation is what a plain loop over diffusers' own scheduler draws, bit for bit.

The loop below is written once more from the papers, with the text, the guidance and the noise spelled
out, so that it holds on every machine. Fast paths, which change the last bits, are off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from animatediff.runtime import FAST_PATHS, seeded
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.text.prompts import encode_prompts

FRAMES, STEPS, SCALE, SEED = 3, 4, 3.0, 5
TIMESTEPS = [751, 501, 251, 1]


@dataclass(frozen=True)
class Loop:
    """The same animation as ``asked``, in the plainest way.

    Attributes:
        text: the prompt's states at a step, ``1 n d`` or one row for each frame.
        guided: whether guidance counts at a timestep.
    """

    animator: Animator
    text: Callable[[int], Tensor]
    guided: Callable[[int], bool] = lambda timestep: True

    def latents(self) -> Tensor:
        family = self.animator.family.betas
        scheduler = DDIMScheduler(
            beta_schedule=family.schedule,
            beta_start=family.start,
            beta_end=family.end,
            clip_sample=False,
            timestep_spacing="leading",
            steps_offset=1,
        )
        scheduler.set_timesteps(STEPS)
        assert scheduler.timesteps.tolist() == TIMESTEPS
        drawn = [torch.randn(4, 4, 4, generator=seeded(SEED, "noise", f)) for f in range(FRAMES)]
        latents = torch.stack(drawn, dim=1)[None]
        for step, timestep in enumerate(scheduler.timesteps):
            noise = self.noise(latents, timestep, step)
            frames = [tensor[0].movedim(1, 0) for tensor in (noise, latents)]
            latents = scheduler.step(frames[0], timestep, frames[1]).prev_sample
            latents = latents.movedim(0, 1)[None]
        return latents

    def noise(self, latents: Tensor, timestep: Tensor, step: int) -> Tensor:
        along = self.text(step)
        if not self.guided(int(timestep)):
            return self.animator.animated(latents, timestep, along)
        without = encoded(self.animator, "an ox")
        if along.ndim == 4:
            without = without[:, None].expand(along.shape)
        both = torch.cat([latents, latents])
        one, other = self.animator.animated(both, timestep, torch.cat([without, along]))[:, None]
        return one + SCALE * (other - one)

    def frames(self) -> np.ndarray:
        vae = self.animator.base.vae
        pictures = (self.latents() / vae.config["scaling_factor"])[0].movedim(1, 0).split(2)
        decoded = torch.cat([vae.decode(few).sample for few in pictures])
        levels = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().byte()
        return levels.movedim(1, 3).numpy()


def encoded(animator: Animator, text: str) -> Tensor:
    return encode_prompts([text], base=animator.base)[0].states


@pytest.fixture
def asked(request_of: AnimationRequest) -> AnimationRequest:
    return replace(
        request_of,
        num_frames=FRAMES,
        negative_prompt="an ox",
        steps=STEPS,
        guidance=SCALE,
        scheduler="ddim",
        seed=SEED,
    )


CHANGES = {
    "a prompt": {},
    "no guidance": {"guidance": 1.0},
    "guidance down to a timestep": {"guidance_from": 400},
    "a prompt that changes over the steps": {"prompt": "a [fox:hare:2]"},
    "a prompt that changes over the frames": {
        "prompts": {"0": "a fox", "2": "a hare"},
        "prompt": "",
    },
}


def loop_for(name: str, animator: Animator) -> Loop:
    fox, hare = (encoded(animator, f"a {what}") for what in ("fox", "hare"))
    always = Loop(animator, text=lambda step: fox)
    match name:
        case "no guidance":
            return replace(always, guided=lambda timestep: False)
        case "guidance down to a timestep":
            return replace(always, guided=lambda timestep: timestep >= 400)
        case "a prompt that changes over the steps":
            return replace(always, text=lambda step: fox if step < 2 else hare)
        case "a prompt that changes over the frames":
            between = torch.cat([fox, torch.lerp(fox, hare, 0.5), hare])[None]
            return replace(always, text=lambda step: between)
        case _:
            return always


@pytest.mark.parametrize("name", CHANGES)
@torch.inference_mode()
def test_an_animation_is_the_plain_loop(
    name: str, animator: Animator, asked: AnimationRequest
) -> None:
    fast = animator.animate(replace(asked, **CHANGES[name]))  # pyright: ignore[reportArgumentType]
    runtime = replace(animator.runtime, without=frozenset(FAST_PATHS))
    animator = replace(animator, runtime=runtime)
    made = animator.animate(replace(asked, **CHANGES[name]))  # pyright: ignore[reportArgumentType]
    loop = loop_for(name, animator)
    assert torch.equal(made.latents, loop.latents())
    assert np.array_equal(made.video.frames, loop.frames())
    assert (fast.latents - made.latents).abs().max() < 1e-5 * made.latents.abs().max()
    assert np.abs(fast.video.frames.astype(int) - made.video.frames).max() <= 1
