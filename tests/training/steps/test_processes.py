"""Several processes learn what one learns, and none waits for one that is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from animatediff.errors import OutputError, PeerLost
from animatediff.training.runs.meters import read_metrics
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.steps.processes import Processes, _parts, peers_named

SCRIPT = Path(__file__).with_name("two_processes.py")


def launched(
    folder: Path, mode: str, *, count: int, accumulate: int
) -> subprocess.CompletedProcess[str]:
    words = [str(SCRIPT), str(folder), mode, str(accumulate)]
    if count > 1:
        words = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={count}",
            *words,
        ]
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        timeout=240,  # gloo alone would wait for a lost process for 1,800 s
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def test_two_processes_have_the_gradients_of_one_with_the_joint_batch(tmp_path: Path) -> None:
    ended = launched(tmp_path, "both", count=1, accumulate=1)
    assert ended.returncode == 0, ended.stderr
    assert_alike(tmp_path)


@pytest.mark.slow
def test_processes_that_torchrun_starts_have_them_too(tmp_path: Path) -> None:
    two = launched(tmp_path / "two", "train", count=2, accumulate=1)
    assert two.returncode == 0, two.stderr
    one = launched(tmp_path / "one", "train", count=1, accumulate=2)
    assert one.returncode == 0, one.stderr
    assert_alike(tmp_path)


def assert_alike(tmp_path: Path) -> None:
    """What was learned in the folders ``two`` and ``one`` differs by rounding alone."""
    for name in ("gradients", "learned"):
        ours = load_file(tmp_path / "two" / f"{name}.safetensors")
        theirs = load_file(tmp_path / "one" / f"{name}.safetensors")
        assert ours.keys() == theirs.keys()
        assert max((ours[k] - theirs[k]).abs().max() for k in ours) < 1e-6
    logs = [read_metrics(tmp_path / name / "metrics.jsonl") for name in ("two", "one")]
    assert all(abs(a["loss"] - b["loss"]) < 1e-6 for a, b in zip(*logs, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["die", "fail"])
def test_a_lost_process_ends_the_other_with_the_cause_and_the_run_resumes(
    mode: str, tmp_path: Path
) -> None:
    whole = launched(tmp_path / "whole", "train", count=2, accumulate=1)
    assert whole.returncode == 0, whole.stderr
    lost = launched(tmp_path / "run", mode, count=2, accumulate=1)
    assert lost.returncode != 0
    assert "Another process of this run has ended" in lost.stderr
    again = launched(tmp_path / "run", "train", count=2, accumulate=1)
    assert again.returncode == 0, again.stderr
    ours, theirs = (load_file(tmp_path / n / "learned.safetensors") for n in ("run", "whole"))
    assert all(torch.equal(ours[k], theirs[k]) for k in ours)


@pytest.mark.slow
def test_the_command_under_accelerate_launch_learns_what_one_process_does(
    setup_of: Callable[[str, Path], StageOptions], tmp_path: Path
) -> None:
    setup = setup_of("motion-lora", tmp_path)
    command = ["-m", "animatediff", "train", "motion-lora", "--steps", "2", "--batch-size", "1"]
    command += ["--precision", "fp32", "--frames", "4", "--rank", "2", "--pattern", "zoom-in"]
    asked = setup.values
    command += ["--model", str(asked["model"]), "--motion", str(asked["motion"])]
    command += ["--data", str(asked["data"]), "--device", "cpu"]
    launch = ["-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    learned: list[dict[str, torch.Tensor]] = []
    for name, words in {"one": [*command, "--accumulate", "2"], "two": [*launch, *command]}.items():
        file = tmp_path / f"{name}.safetensors"
        ended = subprocess.run(
            [sys.executable, *words, "--work", str(tmp_path / name), "--output", str(file)],
            capture_output=True,
            text=True,
            timeout=500,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert ended.returncode == 0, ended.stderr
        assert ended.stdout.count("kept ") == 1
        learned.append(load_file(file))
        (folder,) = (tmp_path / name / "runs").iterdir()
        state = json.loads((folder / "step-00000002" / "state.json").read_text())
        assert (state["options"]["accumulate"], state["batches"]) == (3 - len(learned), 2)
    one, two = learned
    assert one.keys() == two.keys()
    assert max((one[k] - two[k]).abs().max() for k in one) < 1e-5


def test_alone_nothing_is_averaged_or_gathered() -> None:
    processes = Processes()
    layer = nn.Linear(2, 2)
    layer(torch.ones(1, 2)).sum().backward()
    before = layer.weight.grad
    processes.average_gradients(layer.parameters())
    assert layer.weight.grad is before
    assert processes.gathered(torch.tensor([1.0, 2.0])).tolist() == [[1.0, 2.0]]


def test_what_the_first_process_cannot_write_is_raised_as_it_is() -> None:
    def full() -> None:
        raise OutputError("the disk is full")

    with pytest.raises(OutputError, match="the disk is full"):
        Processes().first_alone(full)


def test_a_lost_connection_is_one_sentence_with_its_reason() -> None:
    with (
        pytest.raises(PeerLost, match=r"has ended \(Connection closed by peer\)"),
        peers_named(),
    ):
        raise RuntimeError("Connection closed\n by peer.")


def test_gradients_are_averaged_in_parts_of_bounded_size() -> None:
    parameters = [nn.Parameter(torch.zeros(n)) for n in (3, 4, 9, 1, 1)]
    sizes = [[p.numel() for p in part] for part in _parts(parameters, most=7)]
    assert sizes == [[3, 4], [9], [1, 1]]
    assert _parts([], most=7) == []
