"""A disk that fills, or takes nothing, in ``animatediff train``: code 5, and nothing is lost."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.data import files

from animatediff.apps.cli import main
from animatediff.training.runs import checkpoint, meters
from animatediff.training.runs.checkpoint import load_checkpoint

FILES_OF_A_SAVE = 3


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 256, (4, 4, 4, 3), np.uint8)
        files.write_clip(folder / f"{number}.mp4", noise.repeat(8, 1).repeat(8, 2), fps=8)
    return folder


@pytest.fixture
def words(clips: Path, tiny_world: Path, tiny_motion: Path) -> Callable[[Path], list[str]]:
    def make(work: Path) -> list[str]:
        given = {
            "--work": work,
            "--model": tiny_world,
            "--motion": tiny_motion,
            "--data": clips,
            "--output": work / "out" / "mine.safetensors",
            "--frames": 2,
            "--rank": 2,
            "--steps": 4,
            "--save-every": 1,
            "--batch-size": 1,
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

    return make


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_in(work: Path) -> Path:
    return work / "runs" / "motion-lora-mine"


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Run into a disk that takes no more: code 5, and one sentence."""
    assert main(words) == 5
    said = capsys.readouterr().err
    assert said.startswith("animatediff: ")
    assert len(said.splitlines()) == 1
    return said


def goes_on(
    words: Callable[[Path], list[str]],
    work: Path,
    *,
    whole: Path,
    step: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The last checkpoint is whole, nothing half-written lies about, and the end is the same."""
    kept = load_checkpoint(run_in(work))
    assert kept is not None
    assert kept.step == step
    assert not list(run_in(work).glob(".*"))
    assert main(words(work)) == 0
    assert main(words(whole)) == 0
    assert f"resumed after step {step}" in capsys.readouterr().out
    ends = [load_checkpoint(run_in(folder)) for folder in (work, whole)]
    assert ends[0] is not None
    assert ends[1] is not None
    for name, part in ends[0].tensors.items():
        assert all(torch.equal(value, ends[1].tensors[name][key]) for key, value in part.items())
    assert (work / "out" / "mine.safetensors").exists()


@pytest.mark.parametrize(
    "nth",
    [
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, FILES_OF_A_SAVE)),
        FILES_OF_A_SAVE,
    ],
)
def test_a_disk_that_fills_in_a_checkpoint_leaves_the_one_before(
    nth: int,
    tmp_path: Path,
    words: Callable[[Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save, written = checkpoint.save_file, 0

    def filling(tensors: Any, path: Path) -> None:
        nonlocal written
        written += 1
        if written == 2 * FILES_OF_A_SAVE + nth:
            path.write_bytes(b"half")
            full()
        save(tensors, path)

    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", filling)
        said = refused(words(work), capsys)
    assert "No space left on device" in said
    assert "run the same command to resume" in said
    goes_on(words, work, whole=tmp_path / "whole", step=1, capsys=capsys)


def test_a_disk_that_fills_in_the_log_leaves_the_last_checkpoint(
    tmp_path: Path,
    words: Callable[[Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = meters.Log.write

    def filling(self: meters.Log, facts: dict[str, Any]) -> None:
        if facts["step"] == 3:
            with meters.written_to(Path("metrics.jsonl")):
                full()
        write(self, facts)

    work = tmp_path / "work"
    with monkeypatch.context() as patch:
        patch.setattr(meters.Log, "write", filling)
        assert "metrics.jsonl cannot be written" in refused(words(work), capsys)
    goes_on(words, work, whole=tmp_path / "whole", step=2, capsys=capsys)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_log_on_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    log = meters.Log(tmp_path, start=0, tensorboard=False)
    log.close()
    with Path("/dev/full").open("a") as device:
        log._file = device
        with pytest.raises(OSError, match="no space left on device") as told:
            log.write({"step": 1})
        assert getattr(told.value, "exit_code", None) == 5
        log.close()


def test_a_result_that_cannot_be_written_is_kept_in_the_last_checkpoint(
    tmp_path: Path,
    words: Callable[[Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "out").write_text("not a folder")
    refused(words(work), capsys)
    assert load_checkpoint(run_in(work)) is None, "it was told before anything was learned"
    # As if the file had come into the way during the training.
    with monkeypatch.context() as patch:
        patch.setattr("animatediff.apps.commands.train.check_room", lambda *_, **__: None)
        refused(words(work), capsys)
    (work / "out").unlink()
    goes_on(words, work, whole=tmp_path / "whole", step=4, capsys=capsys)


def test_a_folder_that_takes_nothing_is_told_before_anything_is_learned(
    tmp_path: Path,
    words: Callable[[Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "runs").write_text("not a folder")
    assert "could not be written" in refused(words(work), capsys)
    (work / "runs").unlink()
    # As a folder that may only be read, whoever runs this test.
    make = Path.mkdir

    def forbidden(self: Path, *given: Any, **options: Any) -> None:
        if work in self.parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        make(self, *given, **options)

    monkeypatch.setattr(Path, "mkdir", forbidden)
    assert "permission denied" in refused(words(work), capsys).lower()


def test_a_run_whose_log_may_only_be_read_is_one_sentence(
    tmp_path: Path,
    words: Callable[[Path], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = tmp_path / "work"
    assert main(words(work)) == 0
    capsys.readouterr()
    opened = Path.open

    def forbidden(self: Path, mode: str = "r", *given: Any, **options: Any) -> Any:
        if self.name == "metrics.jsonl" and mode == "a":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
        return opened(self, mode, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        assert "metrics.jsonl cannot be written" in refused([*words(work), "--steps", "4"], capsys)
    assert load_checkpoint(run_in(work)) is not None
