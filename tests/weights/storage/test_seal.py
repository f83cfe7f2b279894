"""The hash in a file's metadata is that of the numbers in it, whatever was done to them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from animatediff.weights.convert import convert
from animatediff.weights.storage.files import read_header
from animatediff.weights.storage.seal import SEAL, resealed, seal_of
from animatediff.world.pack import pack_world

BUILT_IN = sorted((Path(__file__).parents[3] / "src/animatediff/builtin").rglob("*.safetensors"))


def seal_in(path: Path) -> str | None:
    return read_header(path).metadata.get(SEAL)


def test_a_seal_is_broken_by_any_number_and_any_name() -> None:
    weights = {"a": torch.arange(4.0), "b": torch.tensor(1.0, dtype=torch.bfloat16)}
    seal = seal_of(weights)
    assert seal == seal_of(dict(reversed(weights.items())))
    assert seal != seal_of({**weights, "b": torch.tensor(1.01, dtype=torch.bfloat16)})
    assert seal != seal_of({"c": weights["a"], "b": weights["b"]})
    assert resealed({"title": "x"}, weights) == {"title": "x"}
    assert resealed({SEAL: "old"}, weights) == {SEAL: seal}


@pytest.mark.parametrize("path", BUILT_IN, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_what_is_shipped_has_its_own_seal_or_none(path: Path) -> None:
    assert seal_in(path) in (None, seal_of(load_file(path)))


def test_packed_and_strengthened_files_are_sealed_anew(tmp_path: Path) -> None:
    shipped = next(path for path in BUILT_IN if path.stem == "pan-left")
    weights = {name: tensor.float() * 1.01 for name, tensor in load_file(shipped).items()}
    world = tmp_path / "world/motion-lora"
    world.mkdir(parents=True)
    facts = read_header(shipped).metadata | {SEAL: seal_of(weights)}
    save_file(weights, world / "pan-left.safetensors", metadata=facts)
    pack_world(tmp_path, tmp_path / "packed")
    strong = tmp_path / "strong.safetensors"
    convert(world / "pan-left.safetensors", strong, gain=2.0)
    for path in (tmp_path / "packed/motion-lora/pan-left.safetensors", strong):
        assert seal_in(path) == seal_of(load_file(path)) != facts[SEAL]
