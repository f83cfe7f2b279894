"""Families: what each published version decides, as its authors' code and configurations have it."""

from __future__ import annotations

import pytest

from animatediff.errors import InputError
from animatediff.sampling.options.files import NUMERICS_NAMES
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.sampler_names import SCHEDULER_NAMES
from animatediff.weights.families import FAMILIES, NUMERICS, family_of


@pytest.mark.parametrize(
    ("name", "resnets", "motion", "mid", "schedule", "end", "rows"),
    [
        ("v1", "video", "frame", False, "linear", 0.012, 24),
        ("v2", "frame", "frame", True, "linear", 0.012, 32),
        ("v3", "frame", "frame", False, "linear", 0.012, 32),
        ("sdxl-beta", "frame", "video", False, "scaled_linear", 0.020, 32),
        ("animatelcm", "frame", "frame", True, "linear", 0.012, 64),
        ("animatelcm-i2v", "frame", "frame", True, "linear", 0.014, 64),
        ("lightning-4step", "frame", "frame", True, "linear", 0.012, 32),
        ("hotshot-xl", "video", "frame", False, "scaled_linear", 0.012, 24),
        ("longanimatediff", "frame", "frame", True, "linear", 0.012, 64),
        ("pia", "video", "frame", False, "linear", 0.012, 32),
    ],
)
def test_scopes_betas_middle_and_positions_are_the_published_ones(
    name: str, resnets: str, motion: str, mid: bool, schedule: str, end: float, rows: int
) -> None:
    family = family_of(name)
    assert (family.resnet_norm_scope, family.motion_norm_scope) == (resnets, motion)
    assert (family.mid, family.position_rows) == (mid, rows)
    assert (family.betas.schedule, family.betas.start, family.betas.end) == (schedule, 0.00085, end)


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_lightning_takes_its_steps_by_trailing_euler_without_guidance(steps: int) -> None:
    family = family_of(f"lightning-{steps}step")
    assert (family.scheduler, family.spacing) == ("euler", "trailing")
    assert (family.steps, family.guidance) == (steps, 1.0)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_asked_for(name: str) -> None:
    family = FAMILIES[name]
    assert family.title
    assert family.scheduler in SCHEDULER_NAMES
    request = AnimationRequest(
        prompt="",
        steps=family.steps,
        guidance=family.guidance,
        scheduler=family.scheduler,  # pyright: ignore[reportArgumentType]
        width=family.size,
        height=family.size,
        num_frames=family.num_frames,
        family=name,
    )
    assert request.validated().family == name


def test_diffusers_numerics_are_the_same_for_every_family() -> None:
    for family in FAMILIES.values():
        theirs = family.with_numerics("diffusers")
        assert (theirs.motion_norm_scope, theirs.resnet_norm_scope) == ("video", "frame")
        assert family.with_numerics("faithful") is family
    assert NUMERICS == NUMERICS_NAMES


def test_an_unknown_family_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="known are emoji, v1"):
        family_of("v4")


def test_a_family_has_its_say_in_the_sampler() -> None:
    euler = SAMPLERS["euler"].options_for(spacing="trailing", lcm_steps=100)
    assert euler["timestep_spacing"] == "trailing"
    leading = SAMPLERS["euler"].options_for(spacing="leading", lcm_steps=100)
    assert (leading["timestep_spacing"], leading["steps_offset"]) == ("leading", 1)
    lcm = SAMPLERS["lcm"].options_for(spacing="trailing", lcm_steps=200)
    assert lcm == {"original_inference_steps": 200}
    ddim = SAMPLERS["ddim"]
    assert ddim.options_for(spacing=None, lcm_steps=100) == ddim.options
