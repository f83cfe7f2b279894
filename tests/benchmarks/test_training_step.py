"""A training step is measured in parts, whose sum is the whole, and stays the step that it was."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest
import torch
from tests.benchmarks.programs import FOLDER, benchmark
from tests.tiny_models import new_unet
from torch import nn

from animatediff.model import AnimatedUNet


@pytest.fixture(scope="module")
def step_parts():
    with benchmark("step_parts") as module:
        yield module


@pytest.fixture
def animated():
    torch.manual_seed(0)
    animated = AnimatedUNet(new_unet().requires_grad_(False), mid=True)
    for weights in animated.motion.parameters():
        nn.init.normal_(weights, std=0.1)
    return animated


def gradients(animated, parts=None):
    given = torch.randn(1, 4, 3, 8, 8), torch.tensor(500), torch.randn(1, 7, 32)
    animated.zero_grad()
    clock = [time.process_time()]
    output = animated(*given)
    clock.append(time.process_time())
    if parts is not None:
        parts.backward()
    output.square().mean().backward()
    clock.append(time.process_time())
    return [p.grad.clone() for p in animated.motion.parameters()], clock


def test_the_parts_are_the_whole_and_change_nothing(step_parts, animated):
    torch.manual_seed(1)
    plain, _ = gradients(animated)
    torch.manual_seed(1)
    parts = step_parts.Parts(animated)
    timed, (began, middle, end) = gradients(animated, parts)
    found = parts.seconds(began, middle, end)
    parts.remove()
    assert all(torch.equal(one, other) for one, other in zip(plain, timed, strict=True))
    assert not any("forward" in vars(layer) for layer in animated.modules())
    for each, whole in (("forward", middle - began), ("backward", end - middle)):
        assert sum(found[f"{part}, {each}"] for part in step_parts.PARTS) == pytest.approx(whole)
    assert all(found[f"{part}, backward"] > 0 for part in step_parts.PARTS)
    assert 0 < found["text, forward"] < found["attention, forward"]


def test_no_part_contains_another(step_parts, animated):
    found = list(step_parts.parts_of(animated))
    within = [layer for _, part in found for layer in part.modules() if layer is not part]
    assert not {part for _, part in found} & set(within)
    assert {name for name, _ in found} == {"resnets", "attention", "motion"}
    assert len(list(step_parts.text_layers(animated))) > 0


def test_a_profile_is_a_table_of_medians(step_parts):
    table = list(
        step_parts.table(
            {
                "ours": [{"rest, forward": 1.0}, {"rest, forward": 2.0}],
                "theirs": [{"rest, forward": 4.0}],
            }
        )
    )
    assert "| part | ours | theirs |" in table
    assert "| rest, forward | 1.50 | 4.00 |" in table


@pytest.mark.slow
def test_a_step_of_a_tiny_model_is_profiled(tmp_path):
    words = ["--size", "64", "--frames", "2", "--width", "0.1", "--profile", "--out", tmp_path]
    run = subprocess.run(
        [sys.executable, FOLDER / "training_step.py", *words, "--ways", "ours", "diffusers"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (report,) = tmp_path.glob("training-step_cpu_*.md")
    text = report.read_text()
    assert "| motion, backward | " in text
    assert "| AdamW, a step | " in text
    assert "ratio to diffusers" in text
    assert json.loads(run.stdout.splitlines()[0])["way"] == "ours"
