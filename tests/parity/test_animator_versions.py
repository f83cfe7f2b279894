"""Every published module that can be used animates through one Animator, as its authors sample."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.weights import synthetic

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import FAMILIES
from animatediff.weights.storage.files import write_weights

pytestmark = pytest.mark.usefixtures("latents_only")

CPU = torch.device("cpu")
VERSIONS = {
    "v1": ("motion-v1", "auto"),
    "v2": ("motion-v2", "auto"),
    "v3": ("motion-v3", "auto"),
    "sdxl-beta": ("motion-sdxl", "auto"),
    "animatelcm": ("motion-lcm", "auto"),
    "lightning-4step": ("motion-lightning-diffusers", "lightning-4step"),
    "hotshot-xl": ("motion-hotshot", "auto"),
    "longanimatediff": ("motion-long", "auto"),
}


@pytest.fixture(scope="module")
def stills(small_world: Path, small_xl: Path) -> dict[Path, Animator]:
    """Both image models alone."""
    return {world: Animator.load(str(world), motion="none") for world in (small_world, small_xl)}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_animates_as_its_authors_sample(
    tmp_path: Path, small_world: Path, small_xl: Path, stills: dict[Path, Animator], version: str
) -> None:
    sample, family = VERSIONS[version]
    motion = write_weights(
        tmp_path / "mm.safetensors",
        synthetic.tensors(sample),
        metadata=synthetic.SAMPLES[sample].metadata,
    )
    world = small_xl if synthetic.SAMPLES[sample].base == "sdxl" else small_world
    animator = Animator.load(str(world), motion=str(motion), family=family)
    request = AnimationRequest(
        prompt="a fox",
        model=str(world),
        motion=str(motion),
        family=family,
        num_frames=2,
        width=64,
        height=64,
        precision="fp32",
    )
    known = FAMILIES[version]
    resolved = animator.resolved(request)
    assert (resolved.scheduler, resolved.steps, resolved.guidance) == (
        known.scheduler,
        known.steps,
        known.guidance,
    )
    assert animator.animated.norm_scope == known.motion_norm_scope
    assert animator.animated.resnet_norm_scope == known.resnet_norm_scope
    made = animator.animate(replace(request, steps=min(known.steps, 2)))
    assert made.report.family == version
    assert made.latents.isfinite().all()
    alone = stills[world].animate(
        replace(
            request, motion="none", family="auto", steps=1, scheduler=known.scheduler, guidance=1.0
        )  # pyright: ignore[reportArgumentType]
    )
    moved = animator.animate(replace(request, steps=1, guidance=1.0))
    assert not torch.allclose(alone.latents, moved.latents, atol=1e-3)


def timesteps_of(name: str, *, steps: int) -> list[int]:
    family = FAMILIES[name]
    sampler = Sampler(
        SAMPLERS[family.scheduler],
        betas=family.betas,
        prediction="epsilon",
        steps=steps,
        seed=0,
        device=CPU,
        spacing=family.spacing,
        lcm_steps=family.lcm_steps,
    )
    return [int(t) for t in sampler.timesteps]


def test_the_steps_are_those_of_the_authors() -> None:
    assert timesteps_of("v3", steps=25) == list(range(961, 0, -40))
    assert timesteps_of("lightning-1step", steps=1) == [999]
    assert timesteps_of("lightning-4step", steps=4) == [999, 749, 499, 249]
    assert timesteps_of("sdxl-beta", steps=100) == list(range(991, 0, -10))
    assert timesteps_of("hotshot-xl", steps=30)[-1] == 1
    # Consistency models know only the steps that they were distilled from.
    assert set(timesteps_of("animatelcm", steps=6)) <= set(range(9, 1000, 10))
    assert timesteps_of("animatelcm", steps=4) == [999, 749, 499, 249]
