"""What an animator is loaded from: what decides it, the order of checks, and what is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.image_model.base_model import BaseModelPlan
from animatediff.weights.storage.files import write_weights


@pytest.fixture
def pattern(tmp_path: Path, new_motion: Callable[..., AnimatedUNet]) -> Path:
    branches = attach_motion_lora(new_motion(), rank=2)
    return write_weights(tmp_path / "pattern.safetensors", branches.state_dict(), metadata={})


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": "an ox", "seed": 9, "steps": 7, "num_frames": 3, "guidance": 2.0},
        {"loras": ("noto:0.5",)},
        {"adapter": "emoji:0.3"},
        {"motion_loras": ("zoom-in:0.3",)},
    ],
)
def test_prompts_scales_and_loras_may_differ_without_loading_again(
    changes: dict[str, Any],
) -> None:
    first = AnimationRequest("a fox", adapter="emoji:1", motion_loras=("zoom-in:1",))
    assert Loaded.of(replace(first, **changes)) == Loaded.of(first)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "emoji-noto"}, "model emoji-noto"),
        ({"motion": "none"}, "motion none"),
        ({"vae": "mine"}, "autoencoder mine"),
        ({"embeddings": ("one", "two")}, "embeddings one and two"),
        ({"adapter": "emoji:1"}, "domain adapter emoji"),
        ({"motion_loras": ("zoom-in:1", "roll:2")}, "MotionLoRA zoom-in and roll"),
        ({"family": "v2"}, "as v2"),
        ({"numerics": "diffusers"}, "diffusers numerics"),
    ],
)
def test_other_files_are_another_animator_that_is_named(changes: dict[str, Any], said: str) -> None:
    first = AnimationRequest("a fox")
    other = Loaded.of(replace(first, **changes))
    assert other != Loaded.of(first)
    assert said in str(other)
    assert said not in str(Loaded.of(first))


def test_an_animator_keeps_every_file_it_was_read_from_by_its_role(
    tiny_world: Path, tiny_motion: Path, tiny_lora: Path, pattern: Path
) -> None:
    animator = Animator.load(
        str(tiny_world),
        motion=str(tiny_motion),
        loras=[f"{tiny_lora}:1"],
        motion_loras=[f"{pattern}:1"],
    )
    unet = tiny_world / "unet" / "diffusion_pytorch_model.safetensors"
    assert (animator.files["motion"], animator.files["motion-lora:pattern"]) == (
        tiny_motion,
        pattern,
    )
    assert animator.files["unet"] == unet
    assert set(animator.loras) == {tiny_lora}
    assert all(path.is_file() for path in animator.files.values())


def test_weights_are_those_of_the_files(tiny_world: Path, tiny_motion: Path) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    stored = load_file(tiny_world / "unet" / "diffusion_pytorch_model.safetensors")
    ours = animator.base.unet.state_dict()
    assert ours.keys() == stored.keys()
    assert all(torch.equal(ours[name], value) for name, value in stored.items())
    motion = animator.animated.motion.state_dict()
    assert any(
        torch.equal(value, each)
        for value in load_file(tiny_motion).values()
        for each in motion.values()
    )
    assert not any(p.is_meta or p.requires_grad for p in animator.animated.parameters())


def test_without_motion_the_image_model_decides_noise_and_guidance(
    tiny_world: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "world"
    shutil.copytree(tiny_world, copy)
    scheduler = copy / "scheduler" / "scheduler_config.json"
    said = {"beta_schedule": "linear", "beta_start": 0.001, "beta_end": 0.02, "_guidance": 4.5}
    scheduler.write_text(json.dumps(said))
    animator = Animator.load(str(copy), motion="none")
    betas = animator.family.betas
    assert (betas.schedule, betas.start, betas.end) == ("linear", 0.001, 0.02)
    assert animator.family.guidance == 4.5
    assert "motion" not in animator.files


def broken_file(path: Path) -> Path:
    path.write_bytes(b"\x10\0\0\0\0\0\0\0not a header....")
    return path


@pytest.mark.parametrize(
    "part", ["motion", "loras", "motion_loras", "adapter", "embeddings", "vae"]
)
def test_one_bad_file_is_found_before_any_weight_is_read(
    part: str,
    tiny_world: Path,
    tiny_motion: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def load(self: BaseModelPlan, **options: Any) -> Any:
        pytest.fail("the image model was read first")

    monkeypatch.setattr(BaseModelPlan, "load", load)
    bad = str(broken_file(tmp_path / "bad.safetensors"))
    given: dict[str, Any] = {"motion": str(tiny_motion)}
    given[part] = [bad] if part in ("loras", "motion_loras", "embeddings") else bad
    with pytest.raises(FileError, match=r"bad\.safetensors"):
        Animator.load(str(tiny_world), **given)


def test_a_motion_lora_without_motion_is_refused_before_any_weight_is_read(
    tiny_world: Path, pattern: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(self: BaseModelPlan, **options: Any) -> Any:
        pytest.fail("the image model was read first")

    monkeypatch.setattr(BaseModelPlan, "load", load)
    with pytest.raises(InputError, match="changes a motion module, and the motion is none"):
        Animator.load(str(tiny_world), motion="none", motion_loras=[f"{pattern}:1"])
