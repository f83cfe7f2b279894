"""The cost of a denoising step by size, frames and threads, ours and diffusers', cell by cell.

Every cell runs in a fresh process (``steps.py``), so that its peak memory counts and memory that runs
out ends no other cell. Finished cells are kept as JSON lines and skipped by the next call, so a sweep
can be stopped and continued. What was not measured is said so in the report.

    python benchmarks/sweep.py --precision bf16 --plan
    python benchmarks/sweep.py --precision bf16 --only size=256 --only frames=8,16 --minutes 10
    python benchmarks/sweep.py --precision bf16 --report

``--plan`` prints what is missing and how long it should take. ``--report`` measures nothing. Cells are
measured from the cheapest on, and those that would not end within ``--minutes`` are left for later.
The report is a dated Markdown file with two SVGs, light and dark, in ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from cells import FRAMES, PRECISIONS, SIZES, THREADS, WAYS, Cell, known
from measure import RESULTS, commit, processor

STEP_GFLOP = 4090.0
"""A step of 8 frames at 256 px with guidance; more frames and pixels do more in proportion."""
USUAL_GFLOPS: Mapping[str, float] = {"fp32": 130.0, "bf16": 280.0}
"""What one thread reaches, until a cell is measured."""
BUILDING_S = 25.0
"""To start a process and fill the models."""


@dataclass(frozen=True)
class Plan:
    """What is to be measured of each cell."""

    ways: Sequence[str] = WAYS
    rounds: int = 1
    warmup: int = 1

    def seconds(self, cell: Cell, done: Mapping[Cell, Mapping[str, Any]]) -> float:
        """How long a cell should take, judged by the nearest that is measured."""
        steps = len(self.ways) * (self.rounds + self.warmup)
        alike = [c for c in done if c.precision == cell.precision and "failed" not in done[c]]
        if alike:
            near = min(alike, key=lambda c: (c.threads != cell.threads, abs(c.work - cell.work)))
            step = max(done[near]["seconds"].values()) * cell.work / near.work
            step *= near.threads / cell.threads
        else:
            step = cell.work * STEP_GFLOP / USUAL_GFLOPS[cell.precision] / cell.threads
        return BUILDING_S + steps * step


def cells(options: argparse.Namespace) -> Iterator[Cell]:
    """Yield the cells of the table that ``--only`` allows, the cheapest first."""
    only = dict(_allowed(text) for text in options.only)
    every = itertools.product([options.precision], SIZES, FRAMES, THREADS, [options.width])
    allowed = (
        Cell(*values)
        for values in every
        if all(getattr(Cell(*values), name) in numbers for name, numbers in only.items())
    )
    yield from sorted(allowed, key=lambda cell: (cell.work / cell.threads, cell))


def _allowed(text: str) -> tuple[str, set[int]]:
    name, _, values = text.partition("=")
    if name not in ("size", "frames", "threads") or not values:
        sys.exit(f"--only {text}: use size=, frames= or threads=, and numbers such as 8,16.")
    return name, {int(value) for value in values.split(",")}


def measure_cell(cell: Cell, plan: Plan, *, minutes: float | None) -> dict[str, Any] | None:
    """Measure a cell in a fresh process; ``None`` if it was stopped.

    Args:
        cell: what.
        plan: how.
        minutes: until it is stopped.
    """
    entry = {"cell": asdict(cell), "processor": processor(), "commit": commit()}
    command = [sys.executable, __file__, "--cell", json.dumps([asdict(cell), asdict(plan)])]
    # Threads that wait must not count as work.
    environment = os.environ | {
        "OMP_NUM_THREADS": str(cell.threads),
        "OMP_WAIT_POLICY": "passive",
        "GOMP_SPINCOUNT": "0",
    }
    try:
        run = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=None if minutes is None else 60 * minutes,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    if run.returncode:
        reason = "out of memory" if run.returncode in (-9, 137) else f"exit code {run.returncode}"
        return {**entry, "failed": reason}
    return {**entry, **json.loads(run.stdout.splitlines()[-1])}


def measured_here(cell: Cell, plan: Plan) -> dict[str, Any]:
    """Measure a cell in this process."""
    import resource

    from steps import measure_steps

    options = argparse.Namespace(
        **asdict(cell), device="cpu", rounds=plan.rounds, warmup=plan.warmup, warm_text=0,
        guidance=True, plain=False, gains=False, compiled=False, openvino=False,
        ceiling_seconds=0.3,
    )  # fmt: skip
    measured, flops = measure_steps(options, only=plan.ways)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    apart = [d.relative for found in measured.differences.values() for d in found]
    return {
        "seconds": {way: median(measured.values(way, "wall_s")) for way in measured.runs},
        "cpu_seconds": {way: median(measured.values(way, "cpu_s")) for way in measured.runs},
        "rounds": plan.rounds,
        "relative_difference": max(apart, default=None),
        "peak_gib": peak / (2**30 if sys.platform == "darwin" else 2**20),
        "gflop": {kind: count / 1e9 for kind, count in flops.items()},
        "ceilings_gflops": {kind: count / 1e9 for kind, count in measured.ceilings.items()},
        "load": os.getloadavg()[0],
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def sweep(options: argparse.Namespace) -> None:
    """Measure what is missing, the cheapest cells first, within the time that there is."""
    plan = Plan(options.ways, options.rounds, options.warmup)
    done = known(options.lines)
    began = time.monotonic()
    for cell in cells(options):
        if cell in done and not (options.retry and "failed" in done[cell]):
            continue
        left = 60 * options.minutes - (time.monotonic() - began)
        seconds = plan.seconds(cell, done)
        if options.plan or seconds > left:
            print(f"{cell}: about {seconds / 60:.1f} minutes{'' if options.plan else ', left'}")
            continue
        entry = measure_cell(cell, plan, minutes=None if left == float("inf") else left / 60)
        if entry is None:
            print(f"{cell}: not finished in time, left")
            continue
        done[cell] = entry
        options.lines.parent.mkdir(parents=True, exist_ok=True)
        with options.lines.open("a") as file:
            file.write(json.dumps(entry) + "\n")
        print(f"{cell}: {entry.get('failed') or entry['seconds']}", flush=True)


def main() -> None:
    """Measure cells, write the report, and print where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--width", type=float, default=1.0, help="of Stable Diffusion's channels")
    parser.add_argument(
        "--only", action="append", default=[], help="size=256, frames=8,16 or threads=2; repeatable"
    )
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warmup", type=int, default=1, help="runs of each way that do not count")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="to spend at most")
    parser.add_argument("--retry", action="store_true", help="also cells that failed")
    parser.add_argument(
        "--plan", action="store_true", help="print what is missing, and measure it not"
    )
    parser.add_argument("--report", action="store_true", help="measure nothing")
    parser.add_argument("--lines", type=Path, default=RESULTS / "sweep_cpu.jsonl")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--cell", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        cell, plan = json.loads(options.cell)
        print(json.dumps(measured_here(Cell(**cell), Plan(**plan))))
        return
    if not options.report:
        sweep(options)
    if not options.plan:
        from sweep_report import write_report

        print(write_report(known(options.lines), options))


if __name__ == "__main__":
    main()
