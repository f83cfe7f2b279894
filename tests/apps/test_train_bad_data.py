"""Bad clips in ``animatediff train``: set aside with reasons or one sentence, and never for ever."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.data import files

from animatediff.apps.cli import main
from animatediff.training.lessons.clips import ClipLesson
from animatediff.training.runs.meters import read_metrics


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files.bad_files(tmp_path_factory.mktemp("world") / "bad")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return files.odd_clips(tmp_path_factory.mktemp("world") / "odd")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    noise = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
    frames = noise.repeat(8, axis=1).repeat(8, axis=2)
    return files.write_clip(tmp_path_factory.mktemp("world") / "good.mp4", frames, fps=8)


def mixed(folder: Path, *, bad: list[Path], odd: list[Path], good: Path, share: float) -> Path:
    """A folder in which so large a share of the clips is bad."""
    folder.mkdir()
    for path in (*bad, *odd):
        (folder / f"{path.parent.name} {path.name}").symlink_to(path)
    for number in range(round(len(bad) / share) - len(bad) - len(odd)):
        (folder / f"good {number:03d}.mp4").symlink_to(good)
    return folder


def words(data: Path, work: Path, *, tiny_world: Path, tiny_motion: Path) -> list[str]:
    given = {
        "--work": work,
        "--model": tiny_world,
        "--motion": tiny_motion,
        "--data": data,
        "--output": work / "mine.safetensors",
        "--frames": 2,
        "--rank": 2,
        "--steps": 3,
        "--batch-size": 2,
        "--log-every": 1,
        "--precision": "fp32",
        "--device": "cpu",
    }
    return [
        "train",
        "motion-lora",
        "--caption-from-names",
        *(str(word) for pair in given.items() for word in pair),
    ]


def test_one_bad_clip_in_twenty_is_set_aside_with_its_reason(
    tmp_path: Path,
    bad: dict[str, Path],
    odd: dict[str, Path],
    good: Path,
    tiny_world: Path,
    tiny_motion: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = mixed(
        tmp_path / "clips", bad=[*bad.values()], odd=[*odd.values()], good=good, share=0.05
    )
    line = words(data, tmp_path / "work", tiny_world=tiny_world, tiny_motion=tiny_motion)
    assert main(line) == 0, capsys.readouterr().err
    assert f"{len(bad)} of {20 * len(bad)} clips are set aside" in capsys.readouterr().out
    (record,) = (tmp_path / "work" / "data").glob("clips-*/quarantine.jsonl")
    rows = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(rows) == len(bad)
    assert all(row["clip"].startswith("bad ") for row in rows)
    assert all(row["reason"].endswith(".") and "\n" not in row["reason"] for row in rows)
    assert len(read_metrics(tmp_path / "work/runs/motion-lora-mine/metrics.jsonl")) == 3
    # What was set aside is a fact of the run, which goes on from the same.
    assert main([*line, "--steps", "3"]) == 0
    assert "resumed after step 3" in capsys.readouterr().out


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_data_set_that_is_half_bad_stops_in_one_sentence(
    share: float,
    tmp_path: Path,
    bad: dict[str, Path],
    good: Path,
    tiny_world: Path,
    tiny_motion: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = mixed(tmp_path / "clips", bad=[*bad.values()], odd=[], good=good, share=share)
    line = words(data, tmp_path / "work", tiny_world=tiny_world, tiny_motion=tiny_motion)
    assert main(line) == 3
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert f"of {round(len(bad) / share)} clips are bad, and at most 10% may be" in said
    assert "quarantine.jsonl" in said
    assert not (tmp_path / "work" / "runs").exists()
    # Whoever wants the rest learned says so; where there is no rest, that is said.
    allowed = main([*line, "--max-bad", "1"])
    said = capsys.readouterr()
    if share < 1:
        assert allowed == 0, said.err
        assert (tmp_path / "work" / "mine.safetensors").exists()
    else:
        assert allowed == 2
        assert said.err.startswith("animatediff: ")
        assert "holds no videos to learn from" in said.err
        assert len(said.err.splitlines()) == 1


def test_a_clip_whose_decoder_hangs_is_given_up_before_and_while_learning(
    tmp_path: Path,
    good: Path,
    tiny_world: Path,
    tiny_motion: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "clips"
    data.mkdir()
    for number in range(10):
        (data / f"good {number}.mp4").symlink_to(good)
    os.mkfifo(data / "pipe.mp4")  # nobody writes into it: opening it waits for ever
    line = words(data, tmp_path / "work", tiny_world=tiny_world, tiny_motion=tiny_motion)
    line += ["--timeout", "4"]
    assert main(line) == 0, capsys.readouterr().err
    assert "1 of 11 clips are set aside" in (said := capsys.readouterr().out)
    assert "took longer than 4 s" in said

    # The same for clips that hang only once a run goes on.
    losses = ClipLesson.losses

    def hanging(self: ClipLesson, batch: Any, generator: Any) -> Any:
        for path in data.glob("good *.mp4"):
            path.unlink()
            os.mkfifo(path)
        monkeypatch.setattr(ClipLesson, "losses", losses)
        return losses(self, batch, generator)

    monkeypatch.setattr(ClipLesson, "losses", hanging)
    assert main([*line, "--output", str(tmp_path / "work" / "other.safetensors")]) == 3
    said = capsys.readouterr().err
    assert "took longer than 4 s" in said
    assert "it could be read when the run began" in said
    assert len(said.splitlines()) == 1
