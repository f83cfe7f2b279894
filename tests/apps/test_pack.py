"""``animatediff pack``: a folder without a trained world is told, and so is a target that cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from animatediff.apps.cli import main


def test_nothing_is_packed_where_nothing_was_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "packed"
    assert main(["pack", "--work", str(tmp_path), "--target", str(target)]) == 3
    assert "There is no trained world in" in capsys.readouterr().err
    assert not target.exists()


def test_a_file_in_the_place_of_the_target_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "world").mkdir()
    save_file({"w": torch.ones(1)}, tmp_path / "world" / "motion.safetensors")
    (tmp_path / "file").touch()
    line = ["pack", "--work", str(tmp_path), "--target", str(tmp_path / "file" / "packed")]
    assert main(line) == 5
    assert "is a file" in capsys.readouterr().err
