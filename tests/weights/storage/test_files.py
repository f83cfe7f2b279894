"""Weight files: what is broken or wrong is named in one sentence before memory is spent on it."""

from __future__ import annotations

import json
import math
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from animatediff.errors import FileError
from animatediff.sampling.animator import Animator
from animatediff.weights.storage.completeness import check_fit
from animatediff.weights.storage.files import is_pickle, read_header, read_weights, write_weights
from animatediff.world.pack import pack_world


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    tensors = {"a": torch.arange(64.0).reshape(8, 8), "b": torch.ones(3, dtype=torch.float16)}
    return write_weights(tmp_path / "w.safetensors", tensors, metadata={"kind": "test"})


def raw(path: Path, header: object, body: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)
    return path


def test_weights_come_back_with_their_facts(weights: Path) -> None:
    header = read_header(weights)
    assert header.metadata["kind"] == "test"
    assert torch.equal(read_weights(header)["a"], torch.arange(64.0).reshape(8, 8))


@pytest.mark.parametrize("part", range(1, 32))
def test_a_truncated_file_is_refused_with_both_sizes(weights: Path, part: int) -> None:
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) * part // 32])
    with pytest.raises(FileError) as refused:
        read_header(weights)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("header", "body"),
    [
        (b"[]", b""),
        (b"\xff\xfe", b""),
        (b"{" * 2000, b""),
        ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "Q9", "shape": [1], "data_offsets": [0, 4]}}, b"\0" * 4),
        ({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 4]}}, b"\0" * 4),
        (
            b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
            b'"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}',
            b"\0",
        ),
    ],
)
def test_a_header_that_breaks_the_rules_is_refused(
    tmp_path: Path, header: object, body: bytes
) -> None:
    with pytest.raises(FileError):
        read_header(raw(tmp_path / "x.safetensors", header, body))


@pytest.mark.parametrize("length", [0, 7, 2**62, 99_000_000])
def test_a_header_of_impossible_length_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(FileError):
        read_header(path)


@pytest.mark.parametrize("length", [0x0280, 0x0380, 0x0480, 0x0580])
def test_a_header_as_long_as_a_pickles_first_bytes_is_no_pickle(
    tmp_path: Path, length: int
) -> None:
    """640 bytes, say: a length that is written as pickles of protocol 2 begin."""
    entry = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header = json.dumps(entry).encode().ljust(length)
    path = raw(tmp_path / "x.safetensors", header, b"\0" * 4)
    assert not is_pickle(path)
    assert read_header(path).shapes == {"a": (1,)}


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])
def test_a_pickle_is_known_by_its_first_bytes(tmp_path: Path, old: bool) -> None:
    path = tmp_path / "x.safetensors"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=not old)  # noqa: TID251 - what others wrote
    assert is_pickle(path)
    with pytest.raises(FileError, match="animatediff convert"):
        read_header(path)


def test_what_does_not_fit_is_counted_and_a_few_names_are_listed(weights: Path) -> None:
    header = read_header(weights)
    wanted = {"a": (8, 9), **{f"missing{i}": (1,) for i in range(7)}}
    with pytest.raises(FileError) as caught:
        check_fit(header, wanted, role="what is needed")
    sentence = str(caught.value)
    five = ", ".join(f"missing{i}" for i in range(5))
    assert f"lacks 7 tensors ({five} and 2 more)" in sentence
    assert "has the unknown 1 tensor (b)" in sentence
    assert "differs in shape in 1 tensor (a is 8x8 instead of 8x9)" in sentence


def test_a_model_with_a_truncated_part_is_not_loaded(tiny_world: Path, tmp_path: Path) -> None:
    copy = tmp_path / "world"
    shutil.copytree(tiny_world, copy)
    weights = copy / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(FileError, match="diffusion_pytorch_model"):
        Animator.load(str(copy), motion="none")


def test_another_kind_of_file_is_named_where_a_motion_module_is_needed(
    tiny_world: Path, tiny_lora: Path
) -> None:
    with pytest.raises(FileError, match="--motion needs a motion module"):
        Animator.load(str(tiny_world), motion=str(tiny_lora))


def test_a_motion_module_of_another_width_is_refused(
    tiny_world: Path, tiny_motion: Path, tmp_path: Path
) -> None:
    with safe_open(tiny_motion, "pt") as file:
        tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    wider = {k: t.repeat(*[2] * t.ndim) for k, t in tensors.items()}
    path = tmp_path / "wide.safetensors"
    save_file(wider, path, metadata=metadata)
    with pytest.raises(FileError, match="motion module for this model"):
        Animator.load(str(tiny_world), motion=str(path))


def test_packing_halves_weights_and_keeps_facts(tmp_path: Path) -> None:
    unet = tmp_path / "work" / "world" / "emoji" / "unet"
    unet.mkdir(parents=True)
    third = torch.tensor([1 / 3])
    save_file({"w": third}, unet / "model.safetensors", metadata={"kind": "motion"})
    (unet / "config.json").write_text('{"a": 1, "_name_or_path": "/somewhere"}')
    sizes = pack_world(tmp_path / "work", tmp_path / "packed")
    assert list(sizes) == ["emoji/unet/model.safetensors"]
    with safe_open(tmp_path / "packed" / "emoji/unet/model.safetensors", "pt") as file:
        assert file.metadata() == {"kind": "motion"}
        assert torch.equal(file.get_tensor("w"), third.half())
    config = json.loads((tmp_path / "packed" / "emoji/unet/config.json").read_text())
    assert config == {"a": 1}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 500, 1002])
def test_a_number_that_is_not_finite_is_found_wherever_it_is(
    dtype: torch.dtype, bad: float, place: int, tmp_path: Path
):
    numbers = torch.linspace(-1, 1, 1003).to(dtype)
    numbers[place] = bad
    header = read_header(write_weights(tmp_path / "a.safetensors", {"a": numbers}, metadata={}))
    with pytest.raises(FileError, match="NaN or infinity"):
        read_weights(header, refuse_nan=True)


def test_eight_bit_floats_are_read(tmp_path: Path):
    numbers = torch.linspace(-1, 1, 64).to(torch.float8_e4m3fn)
    header = read_header(write_weights(tmp_path / "a.safetensors", {"a": numbers}, metadata={}))
    read = read_weights(header, dtype=torch.float32, refuse_nan=True)
    assert torch.equal(read["a"], numbers.float())


def test_a_header_is_read_again_when_its_file_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for name in ("first", "other"):
        write_weights(path, {name: torch.zeros(2)}, metadata={})
        assert read_header(path).shapes == {name: (2,)}
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(FileError, match="truncated"):
        read_header(path)
