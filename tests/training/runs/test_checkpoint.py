"""Checkpoints: whole or absent, newest first, damaged ones passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from animatediff.errors import OutputError
from animatediff.training.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint


def made(step: int) -> Checkpoint:
    return Checkpoint(step, {"model": {"w": torch.full((3,), float(step))}}, {"options": {"a": 1}})


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, made(5))
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 5
    assert loaded.state == {"options": {"a": 1}}
    assert torch.equal(loaded.tensors["model"]["w"], torch.full((3,), 5.0))


def test_an_empty_folder_has_no_checkpoint(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path) is None


@pytest.mark.parametrize("damage", ["flip", "truncate", "no manifest", "missing file"])
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    tmp_path: Path, damage: str
) -> None:
    save_checkpoint(tmp_path, made(1))
    newest = save_checkpoint(tmp_path, made(2))
    weights = newest / "model.safetensors"
    content = bytearray(weights.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "truncate":
        weights.write_bytes(content[:-4])
    elif damage == "no manifest":
        (newest / "MANIFEST.json").unlink()
    else:
        weights.unlink()
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 1
    save_checkpoint(tmp_path, made(2))
    again = load_checkpoint(tmp_path)
    assert again is not None
    assert again.step == 2


def test_only_the_newest_are_kept_and_leftovers_of_a_kill_are_swept(tmp_path: Path) -> None:
    (tmp_path / ".step-00000001.77.tmp").mkdir()
    for step in range(4):
        save_checkpoint(tmp_path, made(step), keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_damaged_newer_checkpoints_never_push_out_a_good_one(tmp_path: Path) -> None:
    for step in (2, 3):
        damaged = save_checkpoint(tmp_path, made(step), keep=9)
        (damaged / "MANIFEST.json").write_text("[]")
    save_checkpoint(tmp_path, made(1), keep=2)
    loaded = load_checkpoint(tmp_path)
    assert loaded is not None
    assert loaded.step == 1
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="could not be written"):
        save_checkpoint(tmp_path / "file", made(1))
