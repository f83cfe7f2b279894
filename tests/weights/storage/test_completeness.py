"""What a file lacks refuses it, by name and count; the little that it has too much is said."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tests.weights import synthetic
from torch import Tensor

from animatediff.errors import FileError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.without_values import without_values
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.adapters import (
    graft_adapter,
    graft_motion_lora,
    read_adapter,
    read_motion_lora,
)
from animatediff.weights.convert import convert
from animatediff.weights.finding.model_folders import ModelFile
from animatediff.weights.image_model.base_model import plan_base_model
from animatediff.weights.lora import fit_lora, read_lora
from animatediff.weights.motion import fill_motion, inflate, read_motion
from animatediff.weights.storage.completeness import MOST_UNKNOWN
from animatediff.weights.textual_inversion import read_embedding

Weights = Mapping[str, Tensor]


def new_unet() -> UNet2DConditionModel:
    with without_values():
        return UNet2DConditionModel(**synthetic.unet_config("sd15", "small"))


def load_motion(path: Path) -> tuple[str, ...]:
    module = read_motion(path)
    animated = inflate(new_unet(), module)
    fill_motion(animated, module, dtype=torch.float32, device=torch.device("cpu"))
    return module.notes


def load_adapter(path: Path) -> tuple[str, ...]:
    return graft_adapter(new_unet(), read_adapter(path), scale=1.0).notes


def load_motion_lora(path: Path) -> tuple[str, ...]:
    animated = AnimatedUNet(new_unet(), mid=True)
    return graft_motion_lora(animated, read_motion_lora(path), scale=1.0).notes


def load_lora(path: Path) -> tuple[str, ...]:
    return fit_lora(read_lora(path), {"unet": new_unet()}).notes


def load_checkpoint(path: Path) -> tuple[str, ...]:
    plan = plan_base_model(ModelFile("x", path))
    return tuple(note for part in plan.parts.values() for note in part.notes)


LOADERS: Mapping[str, Callable[[Path], tuple[str, ...]]] = {
    "motion-v3": load_motion,
    "motion-v3-diffusers": load_motion,
    "domain-adapter": load_adapter,
    "motion-lora-v2": load_motion_lora,
    "lora-lcm": load_lora,
    "sd15": load_checkpoint,
}
STRANGERS: Mapping[str, str] = {
    "motion-v3": "down_blocks.0.motion_modules.0.temporal_transformer.mask{}",
    "motion-v3-diffusers": "down_blocks.0.motion_modules.0.mask{}",
    "domain-adapter": "step{}",
    "motion-lora-v2": "step{}",
    "lora-lcm": "bundle{}",
    "sd15": "model.diffusion_model.mask{}",
}
"""What programs may leave in such a file."""


@functools.cache
def weights_of(name: str) -> Weights:
    return synthetic.tensors(name)


def write(path: Path, weights: Weights) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, path)
    return path


def counts(name: str, key: str) -> bool:
    """Whether a tensor of a sample is one that its loader needs."""
    return "pos_" not in key and "alpha" not in key and (name != "sd15" or "diffusion_model" in key)


@pytest.mark.usefixtures("small_vocabularies")
@pytest.mark.parametrize("name", LOADERS)
def test_a_few_tensors_too_many_are_said_and_left_out(name: str, tmp_path: Path) -> None:
    extra = {STRANGERS[name].format(i): torch.ones(1) for i in range(3)}
    (note,) = LOADERS[name](write(tmp_path / "x.safetensors", {**weights_of(name), **extra}))
    assert "3 tensors" in note
    assert all(key in note for key in extra)
    assert "left out" in note
    assert "\n" not in note
    assert not LOADERS[name](write(tmp_path / "y.safetensors", weights_of(name)))


@pytest.mark.parametrize("name", LOADERS)
def test_a_file_of_mostly_foreign_tensors_is_refused(name: str, tmp_path: Path) -> None:
    count = 2 * len(weights_of(name))
    extra = {STRANGERS[name].format(i): torch.ones(1) for i in range(count)}
    with pytest.raises(FileError) as refused:
        LOADERS[name](write(tmp_path / "x.safetensors", {**weights_of(name), **extra}))
    assert "\n" not in str(refused.value)
    assert len(re.findall(r"\w*(?:mask|step|bundle)\d+", str(refused.value))) <= 5


@pytest.mark.parametrize("name", ["motion-v3", "motion-v3-diffusers", "sd15"])
def test_three_missing_tensors_are_refused_by_name(name: str, tmp_path: Path) -> None:
    gone = [key for key in weights_of(name) if counts(name, key)][:3]
    kept = {key: tensor for key, tensor in weights_of(name).items() if key not in gone}
    with pytest.raises(FileError, match=r"lacks 3 tensors \([^()]+, [^()]+, [^()]+\)"):
        LOADERS[name](write(tmp_path / "x.safetensors", kept))


@pytest.mark.parametrize("name", ["motion-v3", "sd15"])
def test_of_many_missing_tensors_five_are_named_and_all_counted(name: str, tmp_path: Path) -> None:
    gone = [key for key in weights_of(name) if counts(name, key)][:20]
    kept = {key: tensor for key, tensor in weights_of(name).items() if key not in gone}
    five = r"[^(),]+, [^(),]+, [^(),]+, [^(),]+, [^(),]+"
    with pytest.raises(FileError, match=rf"lacks 20 tensors \({five} and 15 more\)"):
        LOADERS[name](write(tmp_path / "x.safetensors", kept))


@pytest.mark.parametrize("name", ["domain-adapter", "motion-lora-v2", "lora-lcm"])
def test_three_missing_halves_of_branches_are_refused(name: str, tmp_path: Path) -> None:
    gone = [key for key in weights_of(name) if "up." in key][:3]
    kept = {key: tensor for key, tensor in weights_of(name).items() if key not in gone}
    with pytest.raises(FileError, match=r"lacks a half|together are no change"):
        LOADERS[name](write(tmp_path / "x.safetensors", kept))


@pytest.mark.parametrize("name", LOADERS)
def test_one_tensor_of_another_shape_is_refused_by_name(name: str, tmp_path: Path) -> None:
    wrong = next(key for key, t in weights_of(name).items() if counts(name, key) and t.ndim == 2)
    weights = {**weights_of(name), wrong: torch.zeros(3, 5)}
    with pytest.raises(FileError, match=r"3x5|\(3, 5\)|does not fit a weight of") as refused:
        LOADERS[name](write(tmp_path / "x.safetensors", weights))
    assert "\n" not in str(refused.value)


def test_a_part_in_a_folder_may_have_a_few_tensors_too_many(
    tiny_world: Path, tmp_path: Path
) -> None:
    world = tmp_path / "world"
    for path in tiny_world.rglob("*"):
        target = world / path.relative_to(tiny_world)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    file = world / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({**load_file(file), "step": torch.ones(1)}, file)
    made = Animator.load(str(world), motion="none").animate(
        AnimationRequest(prompt="a fox", model=str(world), motion="none", steps=1, num_frames=1)
    )
    assert any("1 tensor (step)" in note for note in made.report.notes)


def test_an_embedding_may_have_a_few_tensors_too_many(tmp_path: Path) -> None:
    vectors = {"emb_params": torch.ones(2, 768)}
    path = write(tmp_path / "x.safetensors", {**vectors, "step": torch.ones(1)})
    assert "1 tensor (step)" in read_embedding(path).notes[0]
    many = {f"step{i}": torch.ones(1) for i in range(9)}
    with pytest.raises(FileError, match="9 tensors"):
        read_embedding(write(tmp_path / "y.safetensors", {**vectors, **many}))


def test_conversion_says_what_it_leaves_out(tmp_path: Path) -> None:
    weights = {**weights_of("motion-lora-v2"), "step": torch.ones(1)}
    done = convert(
        write(tmp_path / "x.safetensors", weights), tmp_path / "y.safetensors", layout="ours"
    )
    assert any("1 tensor (step)" in note for note in done.notes)


def test_a_tenth_is_the_most_that_may_be_unknown(tmp_path: Path) -> None:
    weights = weights_of("motion-v3")
    known = sum(counts("motion-v3", key) for key in weights)
    most = int(known * MOST_UNKNOWN / (1 - MOST_UNKNOWN))
    for count, fits in ((most, True), (most + 1, False)):
        extra = {STRANGERS["motion-v3"].format(i): torch.ones(1) for i in range(count)}
        path = write(tmp_path / f"{count}.safetensors", {**weights, **extra})
        if fits:
            assert f"{count} tensors" in read_motion(path).notes[0]
        else:
            with pytest.raises(FileError, match=f"unknown {count} tensors"):
                read_motion(path)
