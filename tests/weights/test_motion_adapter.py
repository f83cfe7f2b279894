"""The folder of a diffusers MotionAdapter is read as its file is, and its configuration is believed
only where the weights agree."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.weights import synthetic

from animatediff.apps.commands.inspect import InspectOptions
from animatediff.apps.commands.inspect import inspect as command
from animatediff.errors import FileError
from animatediff.weights.convert import convert
from animatediff.weights.finding.builtin import resolve_motion
from animatediff.weights.inspect import inspect
from animatediff.weights.motion import read_motion

WEIGHTS = "diffusion_pytorch_model.safetensors"
ADAPTERS = ("motion-v1", "motion-v2", "motion-v3", "motion-sdxl")


def changed(folder: Path, **facts: object) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    return folder


def without_positions(folder: Path) -> Path:
    tensors = load_file(folder / WEIGHTS)
    save_file({k: t.clone() for k, t in tensors.items() if "pos_embed" not in k}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("variant", ["", ".fp16"])
@pytest.mark.parametrize("name", ADAPTERS)
def test_a_folder_is_the_file_in_it(name: str, variant: str, tmp_path: Path) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", f"{name}-diffusers")
    file = synthetic.write(tmp_path / "alone.safetensors", f"{name}-diffusers")
    if variant:
        (folder / WEIGHTS).replace(folder / f"diffusion_pytorch_model{variant}.safetensors")
    inside, alone = read_motion(folder), read_motion(file)
    assert inside.header.path.parent == folder
    assert resolve_motion(str(folder)) == inside.header.path
    assert (inside.family, inside.mid, inside.rows) == (alone.family, alone.mid, alone.rows)
    assert inside.names == alone.names
    assert inspect(folder).family == inspect(file).family == alone.family.name


@pytest.mark.parametrize("name", ["motion-v1", "motion-v3"])
def test_a_configuration_tells_the_version_where_the_weights_do_not(
    name: str, tmp_path: Path
) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", f"{name}-diffusers")
    module = read_motion(without_positions(folder))
    assert module.family.name == name.removeprefix("motion-")
    assert module.rows == {"motion-v1": 24, "motion-v3": 32}[name]
    assert any("its configuration says" in reason for reason in inspect(folder).reasons)


def test_a_configuration_tells_hotshot_from_sdxl_beta(tmp_path: Path) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-sdxl-diffusers")
    without_positions(folder)
    assert read_motion(folder).family.name == "sdxl-beta"
    assert read_motion(changed(folder, motion_max_seq_length=24)).family.name == "hotshot-xl"


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"motion_max_seq_length": 24}, "motion_max_seq_length = 24, and the weights .* have 32"),
        ({"use_motion_mid_block": True}, "use_motion_mid_block = true, and .* have false"),
        ({"conv_in_channels": 9}, "conv_in_channels = 9, and the weights .* have 0"),
        ({"block_out_channels": [8, 16]}, "block_out_channels = 8x16, and the weights .* have 32x"),
    ],
)
def test_a_configuration_that_contradicts_the_weights_is_refused(
    facts: dict[str, object], sentence: str, tmp_path: Path
) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v3-diffusers")
    changed(folder, **facts)
    for look in (read_motion, inspect):
        with pytest.raises(FileError, match=sentence) as refused:
            look(folder)
        assert "\n" not in str(refused.value)


def test_an_adapter_that_reads_a_picture_is_pia(tmp_path: Path) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v2-diffusers")
    changed(folder, conv_in_channels=9)
    kernel = {"conv_in.weight": torch.zeros(32, 9, 3, 3), "conv_in.bias": torch.zeros(32)}
    save_file({**load_file(folder / WEIGHTS), **kernel}, folder / WEIGHTS)
    module = read_motion(folder)
    assert module.family.name == "pia"
    assert module.picture is not None
    assert set(module.picture.header.shapes) == set(kernel)
    assert inspect(folder).family == "pia"


def test_a_folder_of_something_else_is_named_in_one_sentence(tmp_path: Path) -> None:
    image = synthetic.write_folder(tmp_path / "image", "sd15")
    empty = tmp_path / "empty"
    empty.mkdir()
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "diffusion_pytorch_model.bin").write_bytes(b"PK\x03\x04")
    disguised = synthetic.write_adapter_folder(tmp_path / "disguised", "motion-v3-diffusers")
    synthetic.write(disguised / WEIGHTS, "vae")
    for folder, sentence in (
        (image, "the folder of an image model: give it to --model"),
        (image / "unet", "the folder of a UNet2DConditionModel"),
        (empty, "no weights"),
        (pickled, "only pickles"),
        (disguised, "is an autoencoder"),
    ):
        with pytest.raises(FileError, match=sentence) as refused:
            read_motion(folder)
        assert "\n" not in str(refused.value)


def test_a_broken_configuration_is_named(tmp_path: Path) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v3-diffusers")
    (folder / "config.json").write_text("{")
    with pytest.raises(FileError, match=r"config\.json is not JSON"):
        read_motion(folder)


def test_values_of_wrong_types_in_a_configuration_say_nothing(tmp_path: Path) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v3-diffusers")
    changed(
        folder,
        motion_max_seq_length="24",
        use_motion_mid_block=None,
        conv_in_channels=[9],
        block_out_channels="wide",
    )
    assert read_motion(folder).family.name == "v3"


def test_a_folder_among_the_models_is_found_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANIMATEDIFF_MODELS", str(tmp_path))
    folder = synthetic.write_adapter_folder(tmp_path / "motion" / "mine", "motion-v3-diffusers")
    assert resolve_motion("mine") == folder / WEIGHTS


def test_inspect_says_what_a_folder_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v1-diffusers")
    assert command(InspectOptions(files=(folder,))) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "a motion module of AnimateDiff v1" in printed
    assert "in a folder" in printed
    assert "--motion" in printed


def test_a_folder_converts_as_its_file_does(tmp_path: Path) -> None:
    folder = without_positions(
        synthetic.write_adapter_folder(tmp_path / "adapter", "motion-v1-diffusers")
    )
    done = convert(folder, tmp_path / "v1.safetensors", layout="authors")
    assert (done.family, done.layout) == ("v1", "authors")
    assert read_motion(done.path).family.name == "v1"
