"""A sweep continues where it ended, and its report says what was not measured."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.benchmarks.programs import FOLDER, benchmark


@pytest.fixture(scope="module")
def sweep():
    with benchmark("sweep") as module:
        yield module


@pytest.fixture(scope="module")
def report(sweep):
    with benchmark("sweep_report") as module:
        yield module


def entry(sweep, cell, *, ours=2.0, theirs=3.0):
    return {
        "cell": asdict(cell),
        "processor": sweep.known.__globals__["processor"](),
        "commit": "abc",
        "seconds": {"diffusers": theirs, "ours": ours},
        "cpu_seconds": {"diffusers": theirs, "ours": ours},
        "rounds": 1,
        "relative_difference": 1e-3,
        "peak_gib": 5.0,
        "gflop": {"linear": 100.0, "attention": 0.0},
        "ceilings_gflops": {"linear": 100.0, "attention": 10.0},
        "load": 0.5,
        "date": "2026-01-01",
    }


def options(tmp_path, **changes):
    plain = {
        "precision": "bf16", "width": 1.0, "only": [], "ways": ["ours", "diffusers"], "rounds": 1,
        "warmup": 1, "minutes": float("inf"), "retry": False, "plan": False, "report": False,
        "lines": tmp_path / "lines.jsonl", "out": tmp_path,
    }  # fmt: skip
    return argparse.Namespace(**{**plain, **changes})


def test_every_cell_of_the_table_is_planned_the_cheapest_first(sweep, tmp_path):
    planned = list(sweep.cells(options(tmp_path)))
    assert len(planned) == 2 * 3 * 2
    assert (planned[0].size, planned[0].frames, planned[0].threads) == (256, 8, 2)
    assert (planned[-1].size, planned[-1].frames, planned[-1].threads) == (512, 64, 1)
    few = list(sweep.cells(options(tmp_path, only=["size=256", "frames=8,16", "threads=2"])))
    assert [cell.frames for cell in few] == [8, 16]
    with pytest.raises(SystemExit, match="use size=, frames= or threads="):
        list(sweep.cells(options(tmp_path, only=["colour=3"])))


def test_a_cell_is_measured_once_and_a_failure_only_again_if_asked(sweep, tmp_path, monkeypatch):
    asked = options(tmp_path, only=["size=256", "threads=2"])
    seen = []

    def measured(cell, plan, *, minutes):
        seen.append(cell.frames)
        found = entry(sweep, cell)
        return {**found, "failed": "out of memory"} if cell.frames == 64 else found

    monkeypatch.setattr(sweep, "measure_cell", measured)
    sweep.sweep(asked)
    with asked.lines.open("a") as file:
        file.write('{"cell": {"unfin')
    sweep.sweep(asked)
    assert seen == [8, 16, 64]
    asked.lines.write_text(asked.lines.read_text() + "\n")
    sweep.sweep(options(tmp_path, only=asked.only, retry=True))
    assert seen == [8, 16, 64, 64]
    others = json.loads(asked.lines.read_text().splitlines()[0]) | {"processor": "another"}
    asked.lines.write_text(json.dumps(others))
    assert not sweep.known(asked.lines)


def test_cells_that_do_not_fit_into_the_time_are_left(sweep, tmp_path, monkeypatch, capsys):
    seen = []

    def measured(cell, plan, *, minutes):
        seen.append(cell.frames)
        return entry(sweep, cell, theirs=9.0) if cell.frames == 8 else None

    monkeypatch.setattr(sweep, "measure_cell", measured)
    sweep.sweep(options(tmp_path, only=["size=256", "threads=2"], minutes=4))
    assert seen == [8, 16]  # 64 frames would take more
    said = capsys.readouterr().out
    assert "frames=16, threads=2, width=1.0): not finished in time, left" in said
    assert "frames=64, threads=2, width=1.0): about 5.2 minutes, left" in said
    sweep.sweep(options(tmp_path, only=["size=512"], plan=True))
    assert seen == [8, 16]


def test_the_report_has_every_cell_and_says_which_were_not_measured(sweep, report, tmp_path):
    cell = sweep.Cell("bf16", 256, 8, 2)
    failed = sweep.Cell("bf16", 512, 64, 2)
    done = {cell: entry(sweep, cell), failed: {"failed": "out of memory", "commit": "abc"}}
    path = report.write_report(done, options(tmp_path))
    text = path.read_text()
    assert "| 256 | 8 | 2 | 2 | 0.25 | 3 | **1.50** | 50% | 5.0 |" in text
    assert "| 512 | 64 | 2 | out of memory |" in text
    assert text.count("| not measured |") == 10
    for image in (path.with_suffix(".svg"), path.with_name(f"{path.stem}-dark.svg")):
        assert image.name in text
        assert "seconds a step" in image.read_text()
    assert text.count("not measured") == 10
    assert not report.chart_of({}, precision="bf16", width=1.0)


def test_ours_alone_can_be_measured(sweep, report, tmp_path):
    cell = sweep.Cell("bf16", 256, 8, 2)
    alone = entry(sweep, cell) | {"seconds": {"ours": 2.0}, "cpu_seconds": {"ours": 2.0}}
    text = report.write_report({cell: alone}, options(tmp_path)).read_text()
    assert "| 256 | 8 | 2 | 2 | 0.25 | not measured | | 50% | 5.0 |".replace("| |", "|  |") in text


@pytest.mark.slow
def test_a_tiny_model_is_swept(tmp_path):
    run = subprocess.run(
        [
            sys.executable, FOLDER / "sweep.py", "--width", "0.1", "--only", "size=256",
            "--warmup", "0", "--only", "frames=8", "--only", "threads=1", "--out", tmp_path,
            "--lines", tmp_path / "lines.jsonl", "--precision", "fp32",
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    text = Path(run.stdout.splitlines()[-1]).read_text()
    assert text.count("| not measured |") == 11
    (line,) = (tmp_path / "lines.jsonl").read_text().splitlines()
    assert json.loads(line)["relative_difference"] < 1e-5
