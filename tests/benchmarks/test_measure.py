"""Measurements are paired, their outputs are compared, and a report never replaces another."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.benchmarks.programs import FOLDER, benchmark

from animatediff.runtime import FAST_PATHS

PROGRAM = FOLDER / "measure.py"


@pytest.fixture(scope="module")
def measure():
    with benchmark("measure") as module:
        yield module


def constant(measure, *seconds, output=1.0):
    left = iter(seconds)
    return lambda: measure.Sample(
        {"wall_s": next(left)}, {"output": {"x": torch.tensor([output, 2.0])}}
    )


def test_every_second_round_runs_in_reverse_order(measure):
    order = []
    ways = {"a": constant(measure, 1, 1, 1), "b": constant(measure, 1, 1, 1)}
    measure.interleaved(ways, rounds=3, on_run=lambda number, way, _: order.append((number, way)))
    assert order == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_a_ratio_is_of_medians_with_the_extremes_of_the_rounds(measure):
    ways = {"a": constant(measure, 1, 2, 9), "b": constant(measure, 4, 4, 6)}
    ratio = measure.interleaved(ways, rounds=3).ratio("a", "wall_s", to="b")
    assert (ratio.of_medians, ratio.low, ratio.high) == (0.5, 0.25, 1.5)


def test_outputs_are_compared_in_every_round(measure):
    ways = {"a": constant(measure, 1, 1), "b": constant(measure, 1, 1, output=1.5)}
    found = measure.interleaved(ways, rounds=2).differences["b", "output"]
    assert [difference.largest for difference in found] == [0.5, 0.5]
    assert found[0].relative == pytest.approx(0.5 / 2.5)


def test_ways_that_compute_other_things_are_not_compared(measure):
    with pytest.raises(ValueError, match="Only one way computed"):
        measure.Difference.between({"x": torch.zeros(1)}, {"y": torch.zeros(1)})


def test_the_best_ceiling_of_all_rounds_counts(measure):
    seen = iter([{"linear": 2.0}, {"linear": 5.0}, {"linear": 3.0}])
    ways = {"a": constant(measure, 1, 1, 1)}
    assert measure.interleaved(ways, rounds=3, ceilings=lambda: next(seen)).ceilings == {
        "linear": 5.0
    }


def test_work_is_counted_by_kind(measure):
    query = torch.zeros(2, 8, 64, 40)
    maps, kernel = torch.zeros(1, 4, 8, 8), torch.zeros(5, 4, 3, 3)
    with torch.inference_mode():
        attention = measure.flops_of(
            lambda: torch.nn.functional.scaled_dot_product_attention(query, query, query)
        )
        linear = measure.flops_of(
            lambda: torch.nn.functional.linear(torch.zeros(7, 10), torch.zeros(3, 10))
        )
        convolution = measure.flops_of(lambda: torch.nn.functional.conv2d(maps, kernel, padding=1))
    assert attention == {"attention": 4 * 2 * 8 * 64 * 64 * 40, "linear": 0, "convolution": 0}
    assert linear["linear"] == 2 * 7 * 10 * 3
    assert convolution["convolution"] == 2 * 64 * 5 * 4 * 9
    assert measure.least_seconds({"linear": 6.0, "attention": 0.0}, {"linear": 3.0}) == 2.0


def test_ceilings_are_measured_for_every_kind(measure):
    found = measure.ceilings(torch.float32, seconds=0.0)
    assert set(found) == set(measure.KINDS)
    assert min(found.values()) > 1e6


def test_a_second_report_of_a_day_gets_a_number(measure, tmp_path):
    measured = measure.interleaved(
        {"ours": constant(measure, 1), "theirs": constant(measure, 2, output=1.25)},
        rounds=1,
        ceilings=lambda: {"linear": 2e9},
    )
    report = measure.Report(
        name="step", title="A step", setting="Small.", measured=measured, baseline="theirs",
        flops={"linear": 1e9},
    )  # fmt: skip
    first, second = report.write(tmp_path), report.write(tmp_path)
    assert second.name == first.name.replace(".md", "-2.md")
    text = first.read_text()
    assert "| ours | 1; **0.500 (0.500 to 0.500)** |" in text
    assert "at most 2.5e-01 apart" in text
    assert "ours reaches 50% of the ceilings." in text
    assert "could be 4.00 times as fast as theirs; one that saves work could be faster." in text


@pytest.mark.slow
def test_a_step_of_ours_equals_that_of_diffusers(tmp_path):
    run = subprocess.run(
        [
            sys.executable, PROGRAM, "--size", "64", "--frames", "2", "--width", "0.1",
            "--rounds", "2", "--threads", "1", "--ceiling-seconds", "0", "--out", tmp_path,
            "--guidance", "--gains",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    text = Path(run.stdout.strip()).read_text()
    for way in ("ours", "ours, no fast path", "ours without linear", "ours without convolution"):
        assert f"output of {way} and diffusers: at most" in text
    for path in FAST_PATHS:
        assert f"| {path} | " in text
    assert "| small-maps | not measured | bf16 only |" in text
    assert "At the ceilings measured, " in text
    apart = [
        float(line.split("at most ")[1].split()[0])
        for line in text.splitlines()
        if "at most" in line
    ]
    assert max(apart) < 1e-5


def test_a_path_that_is_not_taken_here_has_a_row_too(measure):
    with benchmark("steps") as steps:
        ways = {"ours": constant(measure, 4.0), "ours without text": constant(measure, 6.0)}
        ways |= {"ours with small-maps": constant(measure, 8.0)}
        table = steps.gains(measure.interleaved(ways, rounds=1))
    assert "| text | 1.500 (1.500 to 1.500) | taken here |" in table
    assert "| small-maps | 0.500 (0.500 to 0.500) | not taken on this processor |" in table
    assert sum(line.startswith("| ") for line in table) == 2 + len(FAST_PATHS)
