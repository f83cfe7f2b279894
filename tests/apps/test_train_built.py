"""From one's own clips to a build, and from that to motion modules, through the commands alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.data import files

from animatediff.apps.cli import main
from animatediff.training.runs.meters import read_metrics


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (6, 4, 4, 3), np.uint8)
        files.write_clip(folder / f"fox {number}.mp4", noise.repeat(10, 1).repeat(10, 2), fps=8)
    return folder


def test_what_a_build_wrote_is_learned_from_as_its_source_is(
    tmp_path: Path, clips: Path, tiny_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = tmp_path / "shards"
    built = ["dataset", "build", str(clips), "-o", str(shards), "--model", str(tiny_world)]
    built += [
        "--caption-from-names",
        "--frames",
        "4",
        "--no-cut-scenes",
        "--no-pixels",
        "--progress",
        "none",
    ]
    assert main(built) == 0, capsys.readouterr().err

    def words(data: Path, name: str, *more: str) -> list[str]:
        given = {
            "--work": tmp_path / name,
            "--model": tiny_world,
            "--data": data,
            "--output": tmp_path / f"{name}.safetensors",
            "--frames": 4,
            "--steps": 3,
            "--batch-size": 2,
            "--log-every": 1,
            "--precision": "fp32",
            "--device": "cpu",
        }
        return [
            "train",
            "motion",
            "--caption-from-names",
            *(str(w) for pair in given.items() for w in pair),
            *more,
        ]

    for data, name in ((shards, "built"), (clips, "source")):
        assert main(words(data, name)) == 0, capsys.readouterr().err
        assert (tmp_path / f"{name}.safetensors").exists()
    losses = [
        [
            line["loss"]
            for line in read_metrics(tmp_path / name / f"runs/motion-{name}/metrics.jsonl")
        ]
        for name in ("built", "source")
    ]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    capsys.readouterr()
    assert main(words(shards, "built")) == 0
    assert "resumed after step 3" in capsys.readouterr().out
    assert main(words(shards, "other", "--fps", "12")) == 2
    said = capsys.readouterr().err
    assert said == (
        f"animatediff: {shards} holds clips of 8 frames a second, not 12; give --fps 8 or build it "
        "again.\n"
    )
