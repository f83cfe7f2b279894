"""Pickles become safetensors with every number as it was, and nothing in them ever runs."""

from __future__ import annotations

import argparse
import collections
import datetime as dt
import hashlib
import io
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from tests.weights import synthetic
from torch import Tensor, nn

from animatediff.errors import FileError, OutputError
from animatediff.weights.storage import legacy
from animatediff.weights.storage.files import read_header
from animatediff.weights.storage.legacy import converted_to_safetensors, read_legacy_header

FORMATS = pytest.mark.parametrize("old", [False, True], ids=["zip", "old"])


def save(path: Path, content: Any, *, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)  # noqa: TID251 - what others wrote
    return path


def bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8)


def assert_same(got: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert got.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert (got[name].dtype, got[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(bits(got[name]), bits(tensor)), name


@FORMATS
@pytest.mark.parametrize("name", ["motion-v3", "sparse-rgb", "ip-adapter"])
def test_a_published_pickle_comes_back_bit_for_bit(name: str, old: bool, tmp_path: Path) -> None:
    source = synthetic.write_pickle(tmp_path / "x.ckpt", name, old=old)
    target = converted_to_safetensors(source, tmp_path / "x.safetensors")
    assert_same(load_file(target), synthetic.tensors(name))
    header, twin = read_legacy_header(source), read_header(target)
    assert (header.shapes, header.dtypes) == (dict(twin.shapes), dict(twin.dtypes))


@FORMATS
def test_every_type_and_every_stride_comes_back(old: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    base = torch.randn(64, 48)
    floats = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    whole = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64)
    tensors = {
        **{str(dtype): base.to(dtype) for dtype in (*floats, torch.float8_e4m3fn)},
        **{str(dtype): torch.arange(5).to(dtype) for dtype in whole},
        "bool": torch.tensor([True, False, True]),
        "transposed": base.T,
        "slice": base[3:40:7, 5::2],
        "channels last": torch.randn(6, 5, 3, 3).half().to(memory_format=torch.channels_last),
        "repeated": torch.randn(4, 1, 2).expand(4, 3, 2),
        "shared": base[10:20],
        "a number": torch.tensor(3.5),
        "nothing": torch.zeros(0, 4),
        "a parameter": nn.Parameter(base.clone()),
        "permuted": torch.randn(2, 3, 4, 5).permute(3, 1, 0, 2),
        "one": torch.randn(7, 9)[:, 4:5],
    }
    source = save(tmp_path / "x.pt", tensors, old=old)
    assert_same(load_file(converted_to_safetensors(source, tmp_path / "y")), tensors)


@FORMATS
def test_what_trainers_carry_along_is_left_behind(old: bool, tmp_path: Path) -> None:
    """A Lightning checkpoint: classes as keys, settings, numpy scalars, an optimiser's state."""
    weights = collections.OrderedDict(a=torch.randn(3), b=torch.randn(2, 2).half())
    content = {
        "epoch": 3,
        "state_dict": weights,
        "callbacks": {FORGED: {"best_model_score": torch.tensor(0.5), "dirpath": "/x"}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.randn(3)}}}],
        "hyper_parameters": argparse.Namespace(lr=np.float64(1e-4), since=dt.date(2026, 1, 2)),
        "dtype": np.dtype("float32"),
        "score": np.float32(0.25),
        "device": torch.device("cpu"),
        "size": torch.Size([1, 2]),
        "names": {"x", "y"},
        "half": torch.float16,
    }
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)  # noqa: TID251 - what others wrote
    path = tmp_path / "x.ckpt"
    # The class is renamed to one that is not installed here, as another machine would see it.
    path.write_bytes(renamed(buffer.getvalue()))
    target = converted_to_safetensors(path, tmp_path / "y.safetensors")
    assert_same(load_file(target), dict(weights))
    assert read_header(target).metadata["epoch"] == "3"


class ForgedCheckpoint12:
    """Stands for a class of pytorch_lightning, which is not installed."""


FORGED = ForgedCheckpoint12


def renamed(content: bytes) -> bytes:
    """Name the class as pytorch_lightning does; the checksum of a zip's member is set anew."""
    module = FORGED.__module__.encode()
    line = b"c" + module + b"\nForgedCheckpoint12\n"
    forged = b"cpytorch_lightning.callbacks.model_checkpoint\nModelCheckpoint\n"
    if not content.startswith(b"PK"):
        assert line in content
        return content.replace(line, forged)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    pickles = [name for name in members if name.endswith("data.pkl")]
    assert line in members[pickles[0]]
    members[pickles[0]] = members[pickles[0]].replace(line, forged)
    return zipped(members)


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_members_that_mean_nothing_to_us_are_no_reason_to_refuse(tmp_path: Path) -> None:
    source = save(tmp_path / "x.pt", {"a": torch.arange(4)})
    with zipfile.ZipFile(source, "a") as archive:
        root = archive.namelist()[0].partition("/")[0]
        archive.writestr(f"{root}/notes/../../../etc/passwd", "x")
        archive.writestr("/absolute", "x")
    names = {path.name for path in tmp_path.iterdir()}
    target = converted_to_safetensors(source, tmp_path / "y")
    assert_same(load_file(target), {"a": torch.arange(4)})
    assert {path.name for path in tmp_path.iterdir()} == names | {"y"}


def test_a_dictionary_of_parameters_is_a_table(tmp_path: Path) -> None:
    """Textual inversions of the first years hold one."""
    vectors = torch.randn(2, 768)
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": nn.ParameterDict({"*": nn.Parameter(vectors)}),
        "name": "fox",
    }
    target = converted_to_safetensors(save(tmp_path / "x.pt", content), tmp_path / "y")
    assert_same(load_file(target), {"string_to_param.*": vectors})
    assert read_header(target).metadata["name"] == "fox"


def test_a_tensor_with_python_attributes_is_a_tensor(tmp_path: Path) -> None:
    tensor = torch.randn(3)
    tensor.note = "mine"
    target = converted_to_safetensors(save(tmp_path / "x.pt", {"a": tensor}), tmp_path / "y")
    assert torch.equal(load_file(target)["a"], torch.Tensor(tensor.tolist()))


def test_the_copy_says_where_it_is_from(tmp_path: Path) -> None:
    source = save(tmp_path / "x.pt", {"a": torch.ones(2)})
    target = converted_to_safetensors(source, tmp_path / "y")
    facts = read_header(target).metadata
    assert facts["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    with safe_open(target, "pt") as file:
        assert file.metadata()["format"] == "pt"


def test_numbers_lie_at_multiples_of_their_own_size(tmp_path: Path) -> None:
    tensors = {"a": torch.ones(3, dtype=torch.uint8), "b": torch.ones(2, dtype=torch.float64)}
    target = converted_to_safetensors(save(tmp_path / "x.pt", tensors), tmp_path / "y")
    assert_same(load_file(target), tensors)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (torch.ones(3), "a single tensor"),
        ({"a": 1, "b": "text"}, "no tensors"),
        ([torch.ones(3)], "no table"),
        (nn.Linear(2, 2), "an object of torch.nn.modules.linear.Linear"),
        ({"a": torch.ones(2, dtype=torch.complex64)}, "ComplexFloatStorage"),
        ({"a": torch.eye(2).to_sparse()}, "_rebuild_sparse_tensor"),
    ],
    ids=["tensor", "texts", "list", "program", "complex", "sparse"],
)
def test_what_is_no_table_of_tensors_is_said(content: Any, what: str, tmp_path: Path) -> None:
    with pytest.raises(FileError, match=what):
        converted_to_safetensors(save(tmp_path / "x.pt", content), tmp_path / "y")
    assert not (tmp_path / "y").exists()


class Wrapper:
    """A tensor inside of an object of a class that only its author has."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def test_a_tensor_that_depends_on_a_foreign_class_is_refused(tmp_path: Path) -> None:
    content = {"a": torch.ones(2), "state_dict": {"b": torch.ones(2), "c": Wrapper(torch.ones(2))}}
    with pytest.raises(FileError, match=r"depends on .*Wrapper, which is not run; it is in c"):
        read_legacy_header(save(tmp_path / "x.pt", content))


def test_a_file_that_was_there_is_untouched_when_conversion_fails(tmp_path: Path) -> None:
    source = save(tmp_path / "x.pt", {"a": torch.ones(1000)})
    source.write_bytes(source.read_bytes()[:-200])
    (tmp_path / "y").write_text("mine")
    with pytest.raises(FileError):
        converted_to_safetensors(source, tmp_path / "y")
    assert {path.name for path in tmp_path.iterdir()} == {"x.pt", "y"}
    assert (tmp_path / "y").read_text() == "mine"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    source = save(tmp_path / "x.pt", {"a": torch.ones(2)})
    with pytest.raises(OutputError, match="choose another folder"):
        converted_to_safetensors(source, tmp_path / "nowhere" / "y")


def test_numbers_that_were_damaged_are_noticed(tmp_path: Path) -> None:
    tensor = torch.full((1000,), 7.0)
    source = save(tmp_path / "x.pt", {"a": tensor})
    content = source.read_bytes()
    place = content.index(tensor.numpy().tobytes()) + 100
    source.write_bytes(content[:place] + b"!" + content[place + 1 :])
    with pytest.raises(FileError, match="do not match their checksum"):
        converted_to_safetensors(source, tmp_path / "y")


@FORMATS
@pytest.mark.parametrize("part", [1, 5, 9, 13, 15])
def test_a_truncated_pickle_is_refused_in_one_sentence(
    part: int, old: bool, tmp_path: Path
) -> None:
    source = save(tmp_path / "x.pt", {str(i): torch.randn(50) for i in range(9)}, old=old)
    content = source.read_bytes()
    source.write_bytes(content[: len(content) * part // 16])
    with pytest.raises(FileError) as caught:
        converted_to_safetensors(source, tmp_path / "y")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["x.pt"]


def test_what_is_checked_is_what_is_read_when_the_name_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = save(tmp_path / "good.pt", {"a": torch.ones(2)})
    evil = save(tmp_path / "evil.pt", {"a": torch.zeros(2)})
    link = tmp_path / "x.pt"
    link.symlink_to(good)
    start = subprocess.Popen

    def swap(*args: Any, **kwargs: Any) -> subprocess.Popen[bytes]:
        link.unlink()
        link.symlink_to(evil)
        return start(*args, **kwargs)

    monkeypatch.setattr(legacy.subprocess, "Popen", swap)
    target = converted_to_safetensors(link, tmp_path / "y")
    assert torch.equal(load_file(target)["a"], torch.ones(2))


def test_the_child_imports_the_standard_library_and_its_own_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, said = subprocess.Popen, tmp_path / "said"

    def listened(words: list[str], **kwargs: Any) -> subprocess.Popen[bytes]:
        with said.open("wb") as errors:
            words = [words[0], "-X", "importtime", *words[1:]]
            return start(words, **{**kwargs, "stderr": errors})

    monkeypatch.setattr(legacy.subprocess, "Popen", listened)
    with pytest.raises(FileError, match="could not be read"):  # its report went elsewhere
        converted_to_safetensors(save(tmp_path / "x.pt", {"a": torch.ones(2)}), tmp_path / "y")
    lines = [line for line in said.read_text().splitlines() if line.startswith("import time:")]
    names = {line.rpartition("|")[2].strip() for line in lines[1:]}
    own = {name for name in names if name.startswith("animatediff")}
    child = "animatediff.weights.storage.legacy_child"
    assert f"{child}.machine" in own
    assert all(name.startswith(f"{child}.") for name in own)
    # The standard library's copy asks for Jython's types (org), which nobody has.
    assert {name.partition(".")[0] for name in names - own} <= {*sys.stdlib_module_names, "org"}


def test_a_plain_pickle_without_torchs_storages_is_no_weights(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": [1, 2, 3]}))
    with pytest.raises(FileError, match="holds no tensors"):
        read_legacy_header(tmp_path / "x.pt")
