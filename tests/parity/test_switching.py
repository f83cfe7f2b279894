"""From A to B and back: whatever was changed meanwhile, the first result comes again bit for bit."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.domain_adapter import attach_domain_adapter
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.families import FAMILIES
from animatediff.weights.motion import write_motion
from animatediff.weights.storage.files import write_weights

pytestmark = pytest.mark.usefixtures("latents_only")


def randomised(module: nn.Module, *, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    for weights in module.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return module.state_dict()


@pytest.fixture(scope="module")
def files(
    tmp_path_factory: pytest.TempPathFactory,
    tiny_world: Path,
    tiny_motion: Path,
    tiny_lora: Path,
    new_motion: Callable[..., AnimatedUNet],
) -> dict[str, tuple[str, str]]:
    """Two of everything."""
    folder = tmp_path_factory.mktemp("two")
    other_world = folder / "other-world"
    shutil.copytree(tiny_world, other_world)
    unet = UNet2DConditionModel.from_pretrained(tiny_world / "unet")
    randomised_unet = UNet2DConditionModel(**dict(unet.config))
    randomised_unet.save_pretrained(other_world / "unet")
    v1 = folder / "v1.safetensors"
    write_motion(v1, new_motion(seed=7), family=FAMILIES["v1"])
    written: dict[str, list[str]] = {"adapter": [], "motion_loras": []}
    for i in (0, 1):
        adapter = attach_domain_adapter(unet, rank=2 + i)
        state = randomised(adapter, seed=20 + i)
        path = write_weights(folder / f"adapter-{i}.safetensors", state, metadata={})
        written["adapter"].append(f"{path}:0.9")
        pattern = attach_motion_lora(new_motion(), rank=2 + i)
        state = randomised(pattern, seed=30 + i)
        path = write_weights(folder / f"pattern-{i}.safetensors", state, metadata={})
        written["motion_loras"].append(f"{path}:0.8")
    return {
        "model": (str(tiny_world), str(other_world)),
        "motion": (str(tiny_motion), str(v1)),
        "loras": (f"{tiny_lora}:0.6", f"{tiny_lora}:0.3"),
        **{name: (paths[0], paths[1]) for name, paths in written.items()},
    }


@pytest.fixture(scope="module")
def first(files: dict[str, tuple[str, str]]) -> AnimationRequest:
    return AnimationRequest(
        prompt="a fox",
        model=files["model"][0],
        motion=files["motion"][0],
        loras=(files["loras"][0],),
        adapter=files["adapter"][0],
        motion_loras=(files["motion_loras"][0],),
        num_frames=3,
        steps=2,
        guidance=3.0,
        seed=5,
    )


def loaded(request: AnimationRequest) -> Animator:
    return Animator.load(
        request.model,
        motion=request.motion,
        loras=request.loras,
        adapter=request.adapter,
        motion_loras=request.motion_loras,
        family=request.family,
        numerics=request.numerics,
    )


def latents_of(request: AnimationRequest) -> Tensor:
    return loaded(request).animate(request).latents


@pytest.fixture(scope="module")
def first_latents(first: AnimationRequest) -> Tensor:
    return latents_of(first)


@pytest.mark.parametrize("part", ["model", "motion", "loras", "adapter", "motion_loras"])
def test_switching_one_part_and_back_gives_the_first_result(
    files: dict[str, tuple[str, str]],
    first: AnimationRequest,
    first_latents: Tensor,
    part: str,
) -> None:
    other = files[part][1]
    change: dict[str, Any] = {part: (other,) if part.endswith("loras") else other}
    b = latents_of(replace(first, **change))
    assert not torch.equal(first_latents, b)
    assert torch.equal(first_latents, latents_of(first))


def test_scales_are_live_and_come_back(first: AnimationRequest) -> None:
    animator = loaded(first)
    adapter, pattern = first.adapter.rpartition(":")[0], first.motion_loras[0].rpartition(":")[0]
    a = animator.animate(first).latents
    weaker = replace(first, adapter=f"{adapter}:0.4", motion_loras=(f"{pattern}:-1",))
    b = animator.animate(weaker).latents
    assert torch.equal(b, latents_of(weaker))
    assert torch.equal(a, animator.animate(first).latents)
    assert not torch.equal(a, b)


def test_an_adapter_at_alpha_zero_is_no_adapter(first: AnimationRequest) -> None:
    none = replace(first, adapter="", motion_loras=())
    zero = replace(
        first,
        adapter=f"{first.adapter.rpartition(':')[0]}:0",
        motion_loras=(f"{first.motion_loras[0].rpartition(':')[0]}:0",),
    )
    assert torch.equal(latents_of(zero), latents_of(none))


def test_two_motion_loras_are_a_sum_in_any_order(
    files: dict[str, tuple[str, str]], first: AnimationRequest
) -> None:
    both = latents_of(replace(first, motion_loras=files["motion_loras"]))
    turned = latents_of(replace(first, motion_loras=files["motion_loras"][::-1]))
    assert torch.equal(both, turned)
    assert not torch.allclose(both, latents_of(first), atol=1e-2)


def test_a_file_that_was_made_with_them_can_be_made_again(
    first: AnimationRequest, tmp_path: Path
) -> None:
    animation = loaded(first).animate(first)
    path = animation.save(tmp_path / "a.png")
    again = load_request(path)
    assert again == animation.request
    assert {"adapter", "motion-lora:pattern-0"} <= animation.report.sha256s.keys()
    assert animation.report.family == "emoji"
    assert torch.equal(latents_of(again), animation.latents)


def test_the_family_decides_what_a_request_leaves_open(
    files: dict[str, tuple[str, str]], first: AnimationRequest
) -> None:
    plain = replace(
        first, loras=(), adapter="", motion_loras=(), steps=None, guidance=None, num_frames=1
    )
    for family, expected in {
        "auto": ("unipc", 10, 3.0),
        "v2": ("ddim", 25, 7.5),
        "lightning-2step": ("euler", 2, 1.0),
        "animatelcm": ("lcm", 6, 2.0),
    }.items():
        asked = replace(plain, family=family)
        animator = loaded(asked)
        resolved = animator.resolved(asked)
        assert (resolved.scheduler, resolved.steps, resolved.guidance) == expected
    notes = animator.animate(asked).report.notes
    assert any("AnimateLCM_sd15_t2v_lora.safetensors" in note for note in notes)
    lightning = loaded(replace(plain, family="lightning-2step"))
    result = lightning.animate(replace(plain, family="lightning-2step"))
    assert result.request.steps == 2
    assert result.latents.isfinite().all()


def test_what_does_not_belong_together_is_refused(
    files: dict[str, tuple[str, str]], first: AnimationRequest
) -> None:
    animator = loaded(first)
    with pytest.raises(InputError, match="load another animator"):
        animator.animate(replace(first, adapter=files["adapter"][1]))
    with pytest.raises(InputError, match="load another animator"):
        animator.animate(replace(first, numerics="diffusers"))
    with pytest.raises(InputError, match="the motion is none"):
        loaded(replace(first, motion="none"))
    with pytest.raises(InputError, match="no adapter"):
        loaded(replace(first, adapter="absent.safetensors"))
    with pytest.raises(FileError, match="needs a MotionLoRA"):
        loaded(replace(first, motion_loras=(files["adapter"][0],)))
