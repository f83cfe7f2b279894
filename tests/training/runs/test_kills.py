"""Whenever a run is killed, it ends as if it had never been: weights, optimiser, average and log."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from tests.training.options import to_table

from animatediff.training.recipe import Recipe
from animatediff.training.runs.checkpoint import load_checkpoint
from animatediff.training.stages.stage_options import StageOptions
from animatediff.world.stages.table import STAGES

RUNNER = "tests.training.kill_runner"
ROOT = Path(__file__).parents[3]
OWN_STAGES = (
    "domain-adapter",
    "motion",
    "motion-lora",
    "personalise-lora",
    "personalise-dreambooth",
    "personalise-inversion",
    "control",
    "sparse-control",
)
WORLD_STAGES = (
    "text-encoder",
    "autoencoder",
    "decoder",
    "image",
    "image-longer",
    "motion-longer",
    "motion-convolution",
    "noto-lora",
    "noto-full",
    "upscaler",
)
FILES_OF_A_SAVE = 3
KILLS = int(os.environ.get("KILLS", "20"))
"""Fewer while this test is worked on."""


class Runner:
    """The process that forks trainings; importing once, it starts each of them in no time."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", RUNNER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(
        self,
        stage: str,
        setup: StageOptions,
        options: Recipe,
        folder: Path,
        *,
        kill_after: float | None = None,
        kill_at: int | None = None,
    ) -> dict[str, Any]:
        job = {
            "stage": stage,
            "setup": to_table(setup),
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


@pytest.fixture
def start_of(
    setup_of: Callable[[str, Path], StageOptions],
    small_setup_of: Callable[[str, Path], StageOptions],
) -> Callable[[str, Path], StageOptions]:
    """What a stage starts from, in a folder of its own: some read what they replace in the end."""

    def make(stage: str, folder: Path) -> StageOptions:
        return (small_setup_of if stage in WORLD_STAGES else setup_of)(stage, folder / "work")

    return make


def test_every_row_of_the_recipe_is_killed() -> None:
    assert {*OWN_STAGES, *WORLD_STAGES} == STAGES.keys()


def test_a_run_killed_in_the_middle_of_a_save_ends_as_the_uninterrupted_one(
    runner: Runner,
    start_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    """The quick one of the tests below: one stage, one kill, half-way through a file."""
    options = replace(options_of("motion-lora"), steps=2, save_every=1, log_every=1)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    setup = start_of("motion-lora", killed)
    whole_run = runner.run("motion-lora", start_of("motion-lora", whole), options, whole / "run")
    assert whole_run["ended"] == 0
    third_save = 2 * FILES_OF_A_SAVE + 2  # after those of steps 0 and 1
    took = runner.run("motion-lora", setup, options, killed / "run", kill_at=third_save)
    assert took["ended"] == -signal.SIGKILL
    kept = load_checkpoint(killed / "run")
    assert kept is not None
    assert kept.step == 1
    assert runner.run("motion-lora", setup, options, killed / "run")["ended"] == 0
    assert state_of(killed / "run") == state_of(whole / "run")


@pytest.mark.slow
@pytest.mark.parametrize("stage", [*OWN_STAGES, *WORLD_STAGES])
def test_a_run_killed_at_twenty_moments_ends_as_the_uninterrupted_one(
    stage: str,
    runner: Runner,
    start_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    # Saves are close together, so that some kills hit one; the log is not a multiple of them.
    options = replace(options_of(stage), steps=30, save_every=4, log_every=3, accumulate=2)
    whole = tmp_path / "whole"
    ended = runner.run(stage, start_of(stage, whole), options, whole / "run")
    assert ended["ended"] == 0
    draw = random.Random(stage)
    killed = 0
    folder = tmp_path / "killed0"
    setup = start_of(stage, folder)
    for moment in range(KILLS):
        # By turns in the middle of a file of the next save, and wherever the clock says.
        in_save = moment % 4 == 3
        how = runner.run(
            stage,
            setup,
            options,
            folder / "run",
            kill_at=draw.randint(1, 2 * FILES_OF_A_SAVE) if in_save else None,
            kill_after=None if in_save else draw.uniform(0.1, 0.6) * ended["seconds"],
        )["ended"]
        killed += how == -signal.SIGKILL
        assert how in (0, -signal.SIGKILL)
        if how == 0:
            # It reached its end between the kills: let the next ones hit a new run of the same.
            assert state_of(folder / "run") == state_of(whole / "run")
            folder = tmp_path / f"killed{moment + 1}"
            setup = start_of(stage, folder)
    assert killed >= 0.6 * KILLS
    assert runner.run(stage, setup, options, folder / "run")["ended"] == 0
    assert state_of(folder / "run") == state_of(whole / "run")


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["motion", "image-longer"])
def test_reading_ahead_in_other_processes_changes_nothing(
    stage: str,
    runner: Runner,
    start_of: Callable[[str, Path], StageOptions],
    options_of: Callable[[str], Recipe],
    tmp_path: Path,
) -> None:
    options = replace(options_of(stage), steps=8)
    two = replace(options, num_workers=2)
    none, ahead, mixed = (tmp_path / name for name in ("none", "two", "mixed"))
    assert runner.run(stage, start_of(stage, none), options, none / "run")["ended"] == 0
    assert runner.run(stage, start_of(stage, ahead), two, ahead / "run")["ended"] == 0
    setup = start_of(stage, mixed)
    took = runner.run(stage, setup, options, mixed / "run", kill_at=3 * FILES_OF_A_SAVE - 1)
    assert took["ended"] == -signal.SIGKILL
    assert runner.run(stage, setup, two, mixed / "run")["ended"] == 0
    assert state_of(ahead / "run") == state_of(none / "run")
    assert state_of(mixed / "run") == state_of(none / "run")
