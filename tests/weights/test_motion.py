"""Motion modules of every published kind: recognised, checked, and never half understood."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from tests.weights import synthetic

from animatediff.errors import FileError, InputError
from animatediff.model.without_values import without_values
from animatediff.weights.families import FAMILIES
from animatediff.weights.motion import fill_motion, inflate, read_motion
from animatediff.weights.motion_picture import check_picture, load_picture
from animatediff.weights.storage.files import write_weights

MOTION = {
    "motion-v1": "v1",
    "motion-v2": "v2",
    "motion-v3": "v3",
    "motion-sdxl": "sdxl-beta",
    "motion-lcm": "animatelcm",
    "motion-lightning": "v2",
    "motion-lightning-diffusers": "v2",
    "motion-hotshot": "hotshot-xl",
    "motion-long": "longanimatediff",
    "motion-v1-diffusers": "v1",
    "motion-v2-diffusers": "v2",
    "motion-v3-diffusers": "v3",
    "motion-sdxl-diffusers": "sdxl-beta",
    "motion-ours": "v3",
}
"""The published kinds that can be used, and the family that their names and shapes tell."""


@functools.cache
def unet_of(base: str, size: synthetic.Size) -> UNet2DConditionModel:
    with without_values():
        return UNet2DConditionModel(**synthetic.unet_config(base, size))


@pytest.mark.parametrize("name", MOTION)
def test_every_published_module_is_recognised_at_its_real_size(tmp_path: Path, name: str) -> None:
    sample = synthetic.SAMPLES[name]
    module = read_motion(synthetic.write_sparse(tmp_path / "motion.safetensors", name))
    family = FAMILIES[MOTION[name]]
    assert (module.family, module.layout) == (family, sample.layout)
    assert (module.norm_scope, module.resnet_norm_scope) == (
        family.motion_norm_scope,
        family.resnet_norm_scope,
    )
    modules = {(False, "sd15"): 20, (True, "sd15"): 21, (False, "sdxl"): 15}
    assert len(module.names) == 26 * modules[module.mid, sample.base]


@pytest.mark.slow
@pytest.mark.parametrize("name", MOTION)
def test_every_published_module_fits_its_image_model_at_its_real_size(
    tmp_path: Path, name: str
) -> None:
    module = read_motion(synthetic.write_sparse(tmp_path / "motion.safetensors", name))
    inflate(unet_of(synthetic.SAMPLES[name].base, "real"), module).remove()


@pytest.mark.parametrize("name", MOTION)
def test_numbers_arrive_under_our_names(tmp_path: Path, name: str) -> None:
    sample = synthetic.SAMPLES[name]
    tensors = synthetic.tensors(name)
    path = write_weights(tmp_path / "motion.safetensors", tensors, metadata=sample.metadata)
    module = read_motion(path)
    animated = inflate(unet_of(sample.base, "small"), module)
    fill_motion(animated, module, dtype=torch.float32, device=torch.device("cpu"))
    state = animated.motion_state_dict()
    assert set(module.names.values()) == set(state)
    for theirs, ours in module.names.items():
        assert torch.equal(state[ours], tensors[theirs].float()), theirs
    animated.remove()


@pytest.mark.parametrize("name", ["motion-pia", "motion-lcm-i2v"])
def test_what_reads_a_picture_is_loaded_beside_the_modules_and_not_called_left_out(
    tmp_path: Path, name: str
) -> None:
    tensors = synthetic.tensors(name)
    path = write_weights(tmp_path / "motion.safetensors", tensors, metadata={})
    module = read_motion(path)
    assert not module.notes
    assert module.picture is not None
    unet = unet_of("sd15", "small")
    check_picture(module.picture, unet)
    read = load_picture(module.picture, unet, device=torch.device("cpu"))
    if name == "motion-pia":
        assert read.channels is not None
        assert torch.equal(read.channels, tensors["conv_in.weight"][:, 4:].float())
    else:
        assert read.encoder is not None
        for key, value in read.encoder.state_dict().items():
            assert torch.equal(value, tensors[f"img_encoder.{key}"].float())


def test_a_picture_input_for_another_image_model_is_refused(tmp_path: Path) -> None:
    tensors = synthetic.tensors("motion-pia")
    tensors["conv_in.weight"] = torch.zeros(8, 9, 3, 3)
    path = write_weights(tmp_path / "motion.safetensors", tensors, metadata={})
    with pytest.raises(FileError, match="picture input of pia for this model"):
        inflate(unet_of("sd15", "small"), read_motion(path))


@pytest.mark.parametrize(
    "name",
    [
        "sparse-rgb",
        "sparse-scribble",
        "domain-adapter",
        "motion-lora-v2",
        "motion-lora-kohya",
        "motion-director",
        "lora-sd15",
        "loha",
        "unet-sd15",
        "vae",
        "controlnet",
        "embedding-a1111",
    ],
)
def test_another_kind_of_file_is_not_taken_for_a_motion_module(tmp_path: Path, name: str) -> None:
    path = synthetic.write_sparse(tmp_path / "other.safetensors", name)
    with pytest.raises(FileError, match="needs a motion module") as refused:
        read_motion(path)
    assert "\n" not in str(refused.value)


def test_a_family_may_be_named_and_then_decides(tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "animatediff_lightning_4step.safetensors", "motion-lightning")
    guessed = read_motion(path)
    assert guessed.family.name == "v2"
    assert "--family lightning-4step" in guessed.notes[0]
    named = read_motion(path, family="lightning-4step")
    assert (named.family.name, named.notes) == ("lightning-4step", ())
    with pytest.raises(InputError, match="no family"):
        read_motion(path, family="v9")


def test_a_file_that_does_not_say_its_version_is_not_guessed(tmp_path: Path) -> None:
    tensors = {k: t for k, t in synthetic.tensors("motion-v3").items() if not k.endswith(".pe")}
    path = write_weights(tmp_path / "resaved.safetensors", tensors, metadata={})
    with pytest.raises(FileError, match="--family v3 or --family v1"):
        read_motion(path)
    assert read_motion(path, family="v3").family.name == "v3"
    named = write_weights(tmp_path / "named.safetensors", tensors, metadata={"family": "v1"})
    assert read_motion(named).family.name == "v1"


def test_diffusers_configuration_tells_what_a_file_without_positions_does_not(
    tmp_path: Path,
) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v1-diffusers")
    path = folder / "diffusion_pytorch_model.safetensors"
    tensors = synthetic.tensors("motion-v1-diffusers")
    save_file({k: t for k, t in tensors.items() if not k.endswith(".pe")}, path)
    assert read_motion(path).family.name == "v1"


def test_diffusers_numerics_override_every_family(tmp_path: Path) -> None:
    for name in ("motion-v1", "motion-v3", "motion-ours"):
        path = synthetic.write(tmp_path / f"{name}.safetensors", name)
        module = read_motion(path, numerics="diffusers")
        assert (module.norm_scope, module.resnet_norm_scope) == ("video", "frame")


def test_positions_that_are_no_sinusoids_are_noticed(tmp_path: Path) -> None:
    tensors = synthetic.tensors("motion-v3")
    assert read_motion(synthetic.write(tmp_path / "a.safetensors", "motion-v3")).notes == ()
    key = next(k for k in tensors if k.endswith(".pe"))
    tensors[key] = tensors[key] * 1.1
    path = write_weights(tmp_path / "b.safetensors", tensors, metadata={})
    assert "1 tables of positions" in read_motion(path).notes[0]


def test_a_training_checkpoint_is_asked_for_its_family_and_its_image_model_left_out(
    tmp_path: Path,
) -> None:
    path = synthetic.write_sparse(tmp_path / "mm.safetensors", "motion-trained")
    with pytest.raises(FileError, match="--family v3 or --family v1"):
        read_motion(path)
    module = read_motion(path, family="v1")
    assert module.resnet_norm_scope == "video"
    assert "686 tensors" in module.notes[0]
    assert len(module.names) == 26 * 20


def test_unknown_and_missing_names_are_errors(tmp_path: Path) -> None:
    tensors = synthetic.tensors("motion-v3")
    key = next(k for k in tensors if k.endswith("proj_in.bias"))
    renamed = {k.replace("proj_in.bias", "proj_in.gamma") if k == key else k: t
               for k, t in tensors.items()}  # fmt: skip
    path = write_weights(tmp_path / "strange.safetensors", renamed, metadata={})
    with pytest.raises(
        FileError, match=r"lacks 1 tensor .*proj_in.bias\); .*unknown 1 tensor .*gamma"
    ):
        inflate(unet_of("sd15", "small"), read_motion(path))
    del tensors[key]
    path = write_weights(tmp_path / "lacking.safetensors", tensors, metadata={})
    with pytest.raises(FileError, match=r"lacks 1 tensor \(down_0_0\.proj_in\.bias\)"):
        inflate(unet_of("sd15", "small"), read_motion(path))


@pytest.mark.parametrize(
    ("name", "base", "sentence"),
    [
        ("motion-sdxl", "sd15", "made for SDXL"),
        ("motion-hotshot", "sd15", "Hotshot-XL, made for SDXL"),
        ("motion-v3", "sdxl", "made for Stable Diffusion 1.5"),
    ],
)
def test_a_module_for_another_image_model_is_named_with_both(
    tmp_path: Path, name: str, base: str, sentence: str
) -> None:
    path = synthetic.write_sparse(tmp_path / "motion.safetensors", name)
    with pytest.raises(FileError, match=sentence):
        inflate(unet_of(base, "real"), read_motion(path))
