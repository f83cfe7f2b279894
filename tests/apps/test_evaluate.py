"""``animatediff evaluate`` without what it needs: one sentence with what to do, and an exit code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from animatediff.apps.cli import main


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (
            ["scorer"],
            3,
            "holds no style folders of shards; render them with `animatediff dataset emoji`.",
        ),
        (
            ["pictures"],
            3,
            "holds no style folders of shards; render them with `animatediff dataset emoji`.",
        ),
        (["motion"], 3, "holds no shards (*.tar); render them with `animatediff dataset emoji`."),
        (["transfer"], 3, "holds no shards (*.tar); render them with `animatediff dataset emoji`."),
        (["adapter"], 3, "holds no shards (*.tar); render them with `animatediff dataset emoji`."),
        (["motion-lora"], 2, "that says which camera move it learned."),
        (["single-clip"], 2, "that says which single clip it learned from."),
        (
            ["control", "--control", "none", "--image", "none"],
            3,
            "holds no shards (*.tar); render them with `animatediff dataset emoji`.",
        ),
        (["motion", "--count", "0"], 2, "count = 0 is out of range; choose 1 or more."),
        (["pictures", "--limit", "-5"], 2, "limit = -5 is out of range; choose 1 or more."),
        (["everything"], 2, "question cannot be 'everything'; it is one of 'scorer',"),
    ],
)
def test_what_is_not_there_yet_is_said_with_what_makes_it(
    words: list[str], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [
        "evaluate",
        *words,
        "--work",
        str(tmp_path / "work"),
        "--results",
        str(tmp_path / "results"),
    ]
    assert main(line) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_motion_lora_of_no_clip_in_particular_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "odd.safetensors"
    save_file({"w": torch.ones(1)}, file, metadata={"clip": "heart"})
    line = ["evaluate", "single-clip", "--work", str(tmp_path), "--motion-loras", str(file)]
    assert main([*line, "--results", str(tmp_path / "results")]) == 3
    assert "gives its clip as heart, which is not a number" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


def test_the_frechet_distance_of_given_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features = np.random.default_rng(0).normal(size=(6, 3))
    np.save(tmp_path / "a.npy", features)
    np.save(tmp_path / "b.npy", features + np.array([1, 0, 0]))
    line = ["evaluate", "frechet", str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    assert main(line) == 0
    assert capsys.readouterr().out == "1.0000 (6 and 6 clips, 3 features)\n"
    assert main([*line[:3], str(tmp_path / "c.npy")]) == 3
    assert "c.npy cannot be read" in capsys.readouterr().err
