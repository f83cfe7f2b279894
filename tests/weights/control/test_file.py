"""What ``--control`` takes and refuses, before anything large is read."""

from __future__ import annotations

import functools
import tracemalloc
from pathlib import Path

import pytest
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import load_file, save_file
from tests.weights import synthetic
from tests.weights.synthetic import SAMPLES

from animatediff.errors import FileError
from animatediff.model.without_values import without_values
from animatediff.weights.control.file import CONTROL_KINDS, read_control
from animatediff.weights.control.plan import plan_control
from animatediff.weights.inspection.control import REFUSED


@functools.cache
def unet(base: str) -> UNet2DConditionModel:
    with without_values():
        return UNet2DConditionModel(**synthetic.unet_config(base))


@pytest.mark.parametrize("name", [n for n, s in SAMPLES.items() if s.kind in CONTROL_KINDS])
def test_a_published_net_of_real_size_fits_its_model_or_is_refused_by_name(
    name: str, tmp_path: Path
) -> None:
    sample = SAMPLES[name]
    path = synthetic.write_sparse(tmp_path / "net.safetensors", name)
    if sample.version in REFUSED:
        with pytest.raises(FileError, match="and is not supported") as caught:
            read_control(path)
        assert REFUSED[sample.version] in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    file = read_control(path)
    plan = plan_control(file, unet(sample.base))
    assert plan.notes == ()


@pytest.mark.parametrize("name", [n for n, s in SAMPLES.items() if s.kind not in CONTROL_KINDS])
def test_anything_else_is_named_with_the_option_that_takes_it(name: str, tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "net.safetensors", name)
    tracemalloc.start()
    try:
        with pytest.raises(FileError, match=r"--control needs a ControlNet") as caught:
            read_control(path)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("name", "other"),
    [("controlnet", "sdxl"), ("controlnet-sdxl", "sd15"), ("t2i-adapter", "sdxl"),
     ("sparse-rgb", "sd2"), ("control-lora", "sd15"), ("controlnet-sd2-ldm", "sd15")],
)  # fmt: skip
def test_a_net_for_another_image_model_is_refused(name: str, other: str, tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "net.safetensors", name)
    with pytest.raises(FileError, match="and the image model is"):
        read_control(path).check_base(other)


@pytest.mark.parametrize(
    ("name", "gone"),
    [
        ("controlnet-ldm", "control_model.zero_convs.1.0.weight"),
        ("control-difference", "control_model.input_hint_block.4.bias"),
        ("control-lora", "zero_convs.1.0.weight"),
        ("control-union", "spatial_ch_projs.bias"),
        ("t2i-adapter", "body.1.block1.weight"),
        ("sparse-rgb", "down_blocks.1.resnets.0.conv1.weight"),
    ],
)
def test_a_net_that_lacks_a_tensor_is_refused(name: str, gone: str, tmp_path: Path) -> None:
    path = synthetic.write(tmp_path / "net.safetensors", name)
    weights = load_file(path)
    del weights[gone]
    save_file(weights, path)
    with without_values():
        small = UNet2DConditionModel(**synthetic.unet_config(SAMPLES[name].base, "small"))
    with pytest.raises(FileError, match=f"lacks 1 tensor.*{gone}"):
        plan_control(read_control(path), small)


def test_only_the_net_of_shuffled_pictures_is_pooled_and_that_is_said(tmp_path: Path) -> None:
    path = synthetic.write_sparse(tmp_path / "control_v11e_sd15_shuffle.safetensors", "controlnet")
    plan = plan_control(read_control(path), unet("sd15"))
    assert "averaged over the picture" in plan.notes[0]
