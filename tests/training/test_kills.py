"""Whenever a run is killed, it ends as if it had never been: weights, optimiser, average and log."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from animatediff.training.checkpoint import load_checkpoint
from animatediff.training.setup import Setup
from animatediff.training.trainer import TrainOptions

RUNNER = Path(__file__).with_name("kill_runner.py")
OWN_STAGES = (
    "domain-adapter",
    "motion",
    "motion-lora",
    "personalise-lora",
    "personalise-dreambooth",
    "personalise-inversion",
)
FILES_OF_A_SAVE = 3


class Runner:
    """The process that forks trainings; importing once, it starts each of them in no time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(RUNNER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        stage: str,
        setup: Setup,
        options: TrainOptions,
        folder: Path,
        *,
        kill_after: float | None = None,
        kill_at: int | None = None,
    ) -> dict[str, Any]:
        job = {
            "stage": stage,
            "setup": asdict(setup),
            "options": asdict(options),
            "folder": folder,
            "kill_after": kill_after,
            "kill_at": kill_at,
        }
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(job, default=str) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    runner = Runner()
    yield runner
    assert runner.process.stdin is not None
    assert runner.process.stdout is not None
    runner.process.stdin.close()
    runner.process.stdout.close()
    runner.process.wait(timeout=60)


def state_of(folder: Path) -> tuple[dict[str, bytes], list[dict[str, Any]], dict[str, Any]]:
    """Everything a run ends with: tensors as bytes, the log without its clock, the state."""
    last = load_checkpoint(folder)
    assert last is not None
    tensors = {
        f"{name}/{key}": value.contiguous().numpy().tobytes()
        for name, part in last.tensors.items()
        for key, value in part.items()
    }
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    log = [{k: v for k, v in line.items() if k != "seconds"} for line in lines]
    options = {k: v for k, v in last.state["options"].items() if k != "num_workers"}
    return tensors, log, {**last.state, "options": options}


@pytest.mark.slow
@pytest.mark.parametrize("stage", OWN_STAGES)
def test_a_run_killed_at_twenty_moments_ends_as_the_uninterrupted_one(
    stage: str,
    runner: Runner,
    setup_of: Callable[[str, Path], Setup],
    options_of: Callable[[str], TrainOptions],
    tmp_path: Path,
) -> None:
    # Saves are close together, so that some kills hit one; the log is not a multiple of them.
    options = replace(options_of(stage), steps=30, save_every=4, log_every=3, accumulate=2)
    setup = setup_of(stage, tmp_path)
    whole = runner.run(stage, setup, options, tmp_path / "whole")
    assert whole["ended"] == 0
    draw = random.Random(stage)
    killed = 0
    for moment in range(20):
        # By turns in the middle of a file of the next save, and wherever the clock says.
        in_save = moment % 4 == 3
        ended = runner.run(
            stage,
            setup,
            options,
            tmp_path / "killed",
            kill_at=draw.randint(1, 2 * FILES_OF_A_SAVE) if in_save else None,
            kill_after=None if in_save else draw.uniform(0.1, 0.6) * whole["seconds"],
        )["ended"]
        killed += ended == -signal.SIGKILL
        assert ended in (0, -signal.SIGKILL)
        if ended == 0:
            # It reached its end between the kills: let the next ones hit a new run of the same.
            assert state_of(tmp_path / "killed") == state_of(tmp_path / "whole")
            (tmp_path / "killed").rename(tmp_path / f"done{moment}")
    assert killed >= 12
    assert runner.run(stage, setup, options, tmp_path / "killed")["ended"] == 0
    assert state_of(tmp_path / "killed") == state_of(tmp_path / "whole")


@pytest.mark.slow
def test_reading_ahead_in_other_processes_changes_nothing(
    runner: Runner,
    setup_of: Callable[[str, Path], Setup],
    options_of: Callable[[str], TrainOptions],
    tmp_path: Path,
) -> None:
    options, setup = replace(options_of("motion"), steps=8), setup_of("motion", tmp_path)
    assert runner.run("motion", setup, options, tmp_path / "none")["ended"] == 0
    two = replace(options, num_workers=2)
    assert runner.run("motion", setup, two, tmp_path / "two")["ended"] == 0
    half = replace(options, steps=8)
    took = runner.run("motion", setup, half, tmp_path / "mixed", kill_at=3 * FILES_OF_A_SAVE - 1)
    assert took["ended"] == -signal.SIGKILL
    assert runner.run("motion", setup, two, tmp_path / "mixed")["ended"] == 0
    assert state_of(tmp_path / "two") == state_of(tmp_path / "none")
    assert state_of(tmp_path / "mixed") == state_of(tmp_path / "none")
