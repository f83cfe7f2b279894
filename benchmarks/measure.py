"""Paired measurements: how fast one way of computing something is, compared with another.

Machines differ and are rarely idle, so a time alone says little. Here the ways run in turn on one
machine, in reverse order every second round. Results are ratios of medians. Outputs are compared in
every round. The machine's ceilings (convolution, linear layer, attention) are measured in each round
too, so that a time can be read as a share of what the machine can do. The report is a dated Markdown
file in ``benchmarks/results/``.

As a program it compares one denoising step of ours with diffusers', at the size of Stable Diffusion 1.5
with random weights (5.1 GB in fp32; ``--width 0.2`` for a quick try)::

    python benchmarks/measure.py --size 256 --frames 8 --threads 2 --rounds 5 --guidance

``--gains`` also runs ours without each fast path in turn, and with each that the device does not take
by default, ``--compiled`` both models by ``torch.compile``, and ``--openvino`` the same network by
OpenVINO where it is installed, on a CPU.

On a GPU (``--device cuda``), every time includes waiting for it, ceilings are measured on it, and
``peak_mib`` is the memory that torch allocated on it at most, weights included.

The other benchmarks use ``interleaved`` and ``Report``.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
from ceilings import KINDS, Kind, ceilings, flops_of, least_seconds, wait
from torch import Tensor

__all__ = [
    "KINDS",
    "RESULTS",
    "Difference",
    "Measured",
    "Ratio",
    "Report",
    "Sample",
    "ceilings",
    "command",
    "commit",
    "flops_of",
    "interleaved",
    "least_seconds",
    "machine",
    "processor",
    "timed",
]

RESULTS = Path(__file__).parent / "results"
Outputs = Mapping[str, Mapping[str, Tensor]]
"""Groups of named tensors; each group is compared as a whole."""


@dataclass(frozen=True)
class Sample:
    """One run of one way.

    Attributes:
        numbers: what was measured, by name and unit, such as ``wall_s``.
        outputs: what was computed, to be compared with the first way's.
    """

    numbers: Mapping[str, float]
    outputs: Outputs = field(default_factory=dict[str, Mapping[str, Tensor]])


Way = Callable[[], Sample]


@dataclass(frozen=True)
class Difference:
    """Between the tensors of two ways.

    Attributes:
        largest: the largest absolute difference of two elements.
        relative: the norm of the difference relative to the norm of the second way's tensors.
    """

    largest: float
    relative: float

    @classmethod
    def between(cls, one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> Difference:
        """The difference of all tensors together.

        Raises:
            ValueError: the two have different names.
        """
        if one.keys() != other.keys():
            raise ValueError(f"Only one way computed {sorted(one.keys() ^ other.keys())}.")
        largest, off, size = 0.0, 0.0, 0.0
        for name, mine in one.items():
            apart = mine.double() - other[name].double()
            largest = max(largest, float(apart.abs().max()))
            off += float(apart.square().sum())
            size += float(other[name].double().square().sum())
        return cls(largest, (off / size) ** 0.5 if size else float(off > 0))


@dataclass(frozen=True)
class Ratio:
    """One way relative to another: the ratio of the medians, and the extremes of the paired ratios."""

    of_medians: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.of_medians:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Measured:
    """Every run of every way, in rounds.

    Attributes:
        runs: the numbers of each way, one entry for each round.
        differences: for each way but the first, and each group of outputs, one entry for each round.
        ceilings: what the machine reached, in FLOP/s; empty if not measured.
    """

    runs: Mapping[str, Sequence[Mapping[str, float]]]
    differences: Mapping[tuple[str, str], Sequence[Difference]]
    ceilings: Mapping[Kind, float]

    def values(self, way: str, number: str) -> list[float]:
        """A number of one way in every round."""
        return [run[number] for run in self.runs[way]]

    def ratio(self, way: str, number: str, *, to: str) -> Ratio:
        """A number of one way relative to another way's."""
        ours, theirs = self.values(way, number), self.values(to, number)
        pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
        return Ratio(median(ours) / median(theirs), min(pairs), max(pairs))


def interleaved(
    ways: Mapping[str, Way],
    *,
    rounds: int,
    warmup: int = 0,
    ceilings: Callable[[], Mapping[Kind, float]] | None = None,
    on_run: Callable[[int, str, Sample], None] | None = None,
) -> Measured:
    """Run every way once a round, in reverse order every second round, and compare the outputs.

    Args:
        ways: what to run, by name; outputs are compared with the first way's.
        rounds: how often.
        warmup: runs of each way before the first round, which do not count.
        ceilings: measures the machine, once a round; the best of each kind counts.
        on_run: called after each run that counts.
    """
    for _ in range(warmup):
        for run in ways.values():
            run()
    first, *others = ways
    runs: dict[str, list[Mapping[str, float]]] = {way: [] for way in ways}
    differences: dict[tuple[str, str], list[Difference]] = {}
    best: dict[Kind, float] = {}
    for number in range(rounds):
        if ceilings is not None:
            best = {kind: max(best.get(kind, 0.0), flops) for kind, flops in ceilings().items()}
        outputs: dict[str, Outputs] = {}
        for way in list(ways)[:: 1 if number % 2 == 0 else -1]:
            sample = ways[way]()
            runs[way].append(sample.numbers)
            outputs[way] = sample.outputs
            if on_run is not None:
                on_run(number, way, sample)
        for way in others:
            for group, tensors in outputs[way].items():
                found = Difference.between(outputs[first][group], tensors)
                differences.setdefault((way, group), []).append(found)
    return Measured(runs, differences, best)


def timed(function: Callable[[], Tensor]) -> Sample:
    """Run a function once: wall-clock and processor seconds, a GPU's peak memory, and the output."""
    wait()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    wall, cpu = time.perf_counter(), time.process_time()
    output = function()
    wait()
    numbers = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
    if output.is_cuda:
        numbers["peak_mib"] = torch.cuda.max_memory_allocated() / 2**20
    return Sample(numbers, {"output": {"output": output.detach()}})


@dataclass(frozen=True)
class Report:
    """A dated Markdown file of one measurement.

    Attributes:
        name: of the measurement, as the file is called, such as ``denoising-step``.
        title: its heading.
        setting: what was measured, in sentences.
        measured: the runs.
        baseline: the way that ratios are relative to.
        flops: the work of one run, to give the achieved share of the ceilings.
        device: where it ran, as torch names it.
        more: lines of Markdown after the ratios.
    """

    name: str
    title: str
    setting: str
    measured: Measured
    baseline: str
    flops: Mapping[Kind, float] = field(default_factory=dict[Kind, float])
    device: str = "cpu"
    more: Sequence[str] = ()

    def markdown(self) -> str:
        """The whole file."""
        return "\n".join(
            [
                f"# {self.title}",
                "",
                f"{self.setting} {machine(self.device)}",
                "",
                f"`{command()}`",
                "",
                *self._medians(),
                *self.more,
                *self._differences(),
                *self._ceilings(),
                "## Every run",
                "",
                *self._runs(),
                "",
            ]
        )

    def write(self, folder: Path = RESULTS) -> Path:
        """Write ``NAME_HARDWARE_DATE.md``; a second one of a day gets a number.

        Returns:
            Its path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{self.name}_{self.device}_{datetime.now(UTC).date().isoformat()}"
        path, number = folder / f"{stem}.md", 1
        while path.exists():
            number += 1
            path = folder / f"{stem}-{number}.md"
        path.write_text(self.markdown(), encoding="utf-8")
        return path

    def _numbers(self) -> list[str]:
        return list(self.measured.runs[self.baseline][0])

    def _medians(self) -> list[str]:
        numbers = self._numbers()
        lines = [
            f"Medians, and in bold their ratio to {self.baseline} (in brackets the smallest and the "
            "largest ratio of a round).",
            "",
            f"| way | {' | '.join(numbers)} |",
            f"| --- |{' --- |' * len(numbers)}",
        ]
        for way in self.measured.runs:
            cells: list[str] = []
            for number in numbers:
                cell = f"{median(self.measured.values(way, number)):.4g}"
                if way != self.baseline:
                    cell += f"; **{self.measured.ratio(way, number, to=self.baseline)}**"
                cells.append(cell)
            lines.append(f"| {way} | {' | '.join(cells)} |")
        return [*lines, ""]

    def _differences(self) -> list[str]:
        lines = [
            f"- {group} of {way} and {next(iter(self.measured.runs))}: at most "
            f"{max(d.largest for d in found):.1e} apart, relative {max(d.relative for d in found):.1e}."
            for (way, group), found in self.measured.differences.items()
        ]
        return ["Outputs, the largest difference of all rounds:", "", *lines, ""] if lines else []

    def _ceilings(self) -> list[str]:
        reached = self.measured.ceilings
        if not reached:
            return []
        lines = ["Ceilings of this machine, the best of all rounds:", ""]
        lines += [f"- {kind}: {flops / 1e9:.1f} GFLOP/s" for kind, flops in reached.items()]
        if any(self.flops.values()):
            least = least_seconds(self.flops, reached)
            work = ", ".join(f"{kind} {flops / 1e9:.3g}" for kind, flops in self.flops.items())
            lines += ["", f"Work of one run in GFLOP: {work}; at the ceilings {least:.3g} s.", ""]
            lines += [
                f"- {way} reaches {least / median(self.measured.values(way, 'wall_s')):.0%} of the "
                "ceilings."
                for way in self.measured.runs
            ]
            possible = median(self.measured.values(self.baseline, "wall_s")) / least
            lines += [
                "",
                f"At the ceilings measured, a way that does this work could be {possible:.2f} times "
                f"as fast as {self.baseline}; one that saves work could be faster.",
            ]
        return [*lines, ""]

    def _runs(self) -> list[str]:
        numbers = self._numbers()
        lines = [
            f"| round | way | {' | '.join(numbers)} |",
            f"| --- | --- |{' --- |' * len(numbers)}",
        ]
        rounds = len(self.measured.runs[self.baseline])
        for number in range(rounds):
            for way, runs in self.measured.runs.items():
                cells = " | ".join(f"{runs[number][name]:.4g}" for name in numbers)
                lines.append(f"| {number + 1} | {way} | {cells} |")
        return lines


def machine(device: str = "cpu") -> str:
    """The date, the processor or GPU, the versions and the load, in one sentence."""
    import diffusers

    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{datetime.now(UTC).date().isoformat()}, {processor(device)}, {os.cpu_count()} cores, "
        f"{torch.get_num_threads()} threads, load {load:.1f}; torch {torch.__version__}, diffusers "
        f"{diffusers.__version__}, commit {commit()}."
    )


def processor(device: str = "cpu") -> str:
    """The name of this machine's processor, or of its GPU if ``device`` is ``cuda``."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {name.strip(): value.strip() for name, value in facts.items()}
    return (
        f"{known.get('model name', platform.machine())} (family {known.get('cpu family', '?')}, "
        f"model {known.get('model', '?')})"
    )


def commit() -> str:
    """The commit that is checked out."""
    run = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return run.stdout.strip() or "unknown"


def command() -> str:
    """The command line of this process, from the root of the repository."""
    program = Path(sys.argv[0]).resolve()
    root = Path(__file__).resolve().parents[1]
    name = program.relative_to(root) if program.is_relative_to(root) else program.name
    return shlex.join(["python", str(name), *sys.argv[1:]])


def parser() -> argparse.ArgumentParser:
    """The options of this program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0, help="of Stable Diffusion's channels")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warmup", type=int, default=1, help="runs of each way that do not count")
    parser.add_argument(
        "--warm-text", type=int, default=0, help="runs of ours before each that counts"
    )
    parser.add_argument("--guidance", action="store_true", help="a batch of two, as guidance needs")
    parser.add_argument("--plain", action="store_true", help="also ours without fast paths")
    parser.add_argument(
        "--gains",
        action="store_true",
        help="also ours without each fast path, or with those not taken by default",
    )
    parser.add_argument("--compiled", action="store_true", help="also both, compiled")
    parser.add_argument("--openvino", action="store_true", help="also OpenVINO (CPU), if installed")
    parser.add_argument("--ceiling-seconds", type=float, default=0.3, help="for each kind, a round")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    return parser


def main() -> None:
    """Compare, write the report, and print where it is."""
    options = parser().parse_args()
    from steps import compare_steps  # which imports this file

    print(compare_steps(options).write(options.out))


if __name__ == "__main__":
    main()
