"""Measurements are paired, their outputs are compared, and a report never replaces another."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.benchmarks.programs import FOLDER, benchmark

from animatediff.runtime import FAST_PATHS

SMALL: dict[str, Any] = {
    "size": 64, "frames": 2, "width": 0.1, "device": "cpu", "threads": 1, "rounds": 1, "warmup": 0,
    "warm_text": 0, "guidance": False, "plain": False, "gains": False, "compiled": False,
    "openvino": False, "ceiling_seconds": 0.0,
}  # fmt: skip

PROGRAM = FOLDER / "measure.py"


@pytest.fixture(scope="module")
def measure() -> Any:
    with benchmark("measure") as module:
        yield module


def constant(measure: Any, *seconds: float, output: float = 1.0) -> Any:
    left = iter(seconds)
    return lambda: measure.Sample(
        {"wall_s": next(left)}, {"output": {"x": torch.tensor([output, 2.0])}}
    )


def test_every_second_round_runs_in_reverse_order(measure: Any) -> None:
    order = []
    ways = {"a": constant(measure, 1, 1, 1), "b": constant(measure, 1, 1, 1)}
    measure.interleaved(ways, rounds=3, on_run=lambda number, way, _: order.append((number, way)))
    assert order == [(0, "a"), (0, "b"), (1, "b"), (1, "a"), (2, "a"), (2, "b")]


def test_a_ratio_is_of_medians_with_the_extremes_of_the_rounds(measure: Any) -> None:
    ways = {"a": constant(measure, 1, 2, 9), "b": constant(measure, 4, 4, 6)}
    ratio = measure.interleaved(ways, rounds=3).ratio("a", "wall_s", to="b")
    assert (ratio.of_medians, ratio.low, ratio.high) == (0.5, 0.25, 1.5)


def test_outputs_are_compared_in_every_round(measure: Any) -> None:
    ways = {"a": constant(measure, 1, 1), "b": constant(measure, 1, 1, output=1.5)}
    found = measure.interleaved(ways, rounds=2).differences["b", "output"]
    assert [difference.largest for difference in found] == [0.5, 0.5]
    assert found[0].relative == pytest.approx(0.5 / 2.5)


def test_ways_that_compute_other_things_are_not_compared(measure: Any) -> None:
    with pytest.raises(ValueError, match="Only one way computed"):
        measure.Difference.between({"x": torch.zeros(1)}, {"y": torch.zeros(1)})


def test_the_best_ceiling_of_all_rounds_counts(measure: Any) -> None:
    seen = iter([{"linear": 2.0}, {"linear": 5.0}, {"linear": 3.0}])
    ways = {"a": constant(measure, 1, 1, 1)}
    assert measure.interleaved(ways, rounds=3, ceilings=lambda: next(seen)).ceilings == {
        "linear": 5.0
    }


def test_work_is_counted_by_kind(measure: Any) -> None:
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


def test_ceilings_are_measured_for_every_kind(measure: Any) -> None:
    found = measure.ceilings(torch.float32, seconds=0.0)
    assert set(found) == set(measure.KINDS)
    assert min(found.values()) > 1e6


def test_a_second_report_of_a_day_gets_a_number(measure: Any, tmp_path: Path) -> None:
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
def test_a_step_of_ours_equals_that_of_diffusers(tmp_path: Path) -> None:
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
    assert "| temporal | not measured | bf16 only |" in text
    assert "At the ceilings measured, " in text
    apart = [
        float(line.split("at most ")[1].split()[0])
        for line in text.splitlines()
        if "at most" in line
    ]
    assert max(apart) < 1e-5


def test_a_path_that_is_not_taken_here_has_a_row_too(measure: Any) -> None:
    with benchmark("steps") as steps:
        ways = {"ours": constant(measure, 4.0), "ours without text": constant(measure, 6.0)}
        ways |= {"ours with small-maps": constant(measure, 8.0)}
        table = steps.gains(measure.interleaved(ways, rounds=1))
    assert "| text | 1.500 (1.500 to 1.500) | taken here |" in table
    assert "| small-maps | 0.500 (0.500 to 0.500) | not taken here by default |" in table
    assert sum(line.startswith("| ") for line in table) == 2 + len(FAST_PATHS)


@pytest.mark.parametrize(
    ("device", "precision", "added"),
    [
        ("cuda", "fp16", {"guidance", "layout", "upsampling"}),
        ("cpu", "bf16", {"small-maps"}),
        ("cpu", "fp32", set[str]()),
    ],
)
def test_gains_try_the_paths_that_a_device_does_not_take_by_default(
    measure: Any, monkeypatch: pytest.MonkeyPatch, device: str, precision: str, added: set[str]
) -> None:
    taken = frozenset({"text"})
    options = argparse.Namespace(
        **SMALL | {"device": device, "precision": precision, "gains": True}
    )
    with benchmark("steps") as steps:
        monkeypatch.setattr(steps, "plan_drawing", lambda _: taken)
        ways = steps.ways_of(options, None, None, {"ours": None, "diffusers": None})
        each = {name: constant(measure, 1.0) for name in ways}
        table = steps.gains(measure.interleaved(each, rounds=1), device=device)
    assert {name for name in ways if name.startswith("ours with ")} == {
        f"ours with {path}" for path in added
    }
    assert "ours without text" in ways
    rows = {line.split(" | ")[0][2:]: line for line in table if line.startswith("| ")}
    assert ("for CPUs" in rows["linear"]) == (device == "cuda")


def test_a_report_names_the_device_that_computed_not_the_one_that_is_there(
    measure: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A GPU")
    measured = measure.interleaved({"ours": constant(measure, 1)}, rounds=1)

    def written(device: str) -> Any:
        report = measure.Report(
            name="step", title="A step", setting="Small.", measured=measured, baseline="ours",
            device=device,
        )  # fmt: skip
        return report.write(tmp_path)

    on_cpu, on_gpu = written("cpu"), written("cuda")
    assert on_cpu.name.startswith("step_cpu_")
    assert "A GPU" not in on_cpu.read_text()
    assert on_gpu.name.startswith("step_cuda_")
    assert "A GPU" in on_gpu.read_text()
    assert "A GPU" not in measure.processor()


class StandInForOpenVINO:
    """What the benchmark calls of OpenVINO, computed by torch from numpy's arrays."""

    def __init__(self, *, taken: str | None = None) -> None:
        self.taken = taken
        self.saved: dict[Path, Any] = {}

    def convert_model(self, network: Any, *, example_input: Any) -> Any:
        dtypes = {each.dtype for each in (*example_input, *network.parameters())}
        assert dtypes <= {torch.float32, torch.int64}
        return network

    def save_model(self, network: Any, path: Path, *, compress_to_fp16: bool) -> None:
        assert not compress_to_fp16
        self.saved[path] = network

    def compile_model(self, path: Path, device: str, hints: Any) -> Any:
        self.network, self.device, self.hints = self.saved[path], device, hints
        return self

    def get_property(self, name: str) -> Any:
        taken = self.taken or self.hints[name]
        return argparse.Namespace(to_string=lambda: taken)

    def __call__(self, arrays: Any) -> Any:
        with torch.inference_mode():
            return {0: self.network(*map(torch.from_numpy, arrays)).numpy()}


@contextmanager
def stand_in(
    monkeypatch: pytest.MonkeyPatch, *, precision: str = "fp32", **changes: Any
) -> Generator[tuple[StandInForOpenVINO, Any]]:
    """OpenVINO, and the benchmark, whose other process runs in this one."""
    module = StandInForOpenVINO(**changes)
    monkeypatch.setitem(sys.modules, "openvino", module)
    given = f"--size 64 --frames 2 --width 0.1 --threads 1 --precision {precision}".split()
    monkeypatch.setattr(sys, "argv", [str(PROGRAM), *given])
    with benchmark("steps") as steps, benchmark("openvino_network") as network:

        def run(command: list[Any], *, check: bool) -> None:
            assert check
            program, *arguments = command[1:]
            assert program.name == "openvino_network.py"
            with monkeypatch.context() as patch:
                patch.setattr(sys, "argv", [str(program), *arguments])
                network.main()

        monkeypatch.setattr(steps.subprocess, "run", run)
        yield module, steps


def by_openvino(steps: Any, *, precision: str = "fp32", device: str = "cpu") -> Any:
    """What a network predicts, and what OpenVINO predicts with it."""
    options = argparse.Namespace(**SMALL | {"precision": precision, "device": device})
    way = steps._openvino(options)
    model = steps.make("diffusers", width=options.width)
    steps.fill(model, steps.DTYPES[precision])
    arguments = steps.network_arguments(options)
    with torch.inference_mode():
        ours = model.float().eval()(*arguments, return_dict=False)[0]
        return ours, way().outputs["output"]["output"]


@pytest.mark.parametrize(("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16")])
def test_openvino_computes_the_same_step_in_the_precision_asked_for(
    precision: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with stand_in(monkeypatch, precision=precision) as (openvino, steps):
        ours, theirs = by_openvino(steps, precision=precision)
    assert openvino.device == "CPU"
    assert openvino.hints == {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
    assert theirs.dtype == torch.float32
    # The whole U-Net in fp32, with weights of that precision: equal but for the order of sums (2e-6).
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_openvino_that_would_compute_otherwise_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with stand_in(monkeypatch, taken="bf16") as (_, steps):
        with pytest.raises(SystemExit, match="computes in bf16 here, not in f32"):
            by_openvino(steps)
        with pytest.raises(SystemExit, match="on a CPU, not on cuda"):
            by_openvino(steps, device="cuda")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # OpenVINO traces with torch.jit, which is deprecated
def test_the_installed_openvino_computes_the_same_step(measure: Any) -> None:
    pytest.importorskip("openvino")
    options = argparse.Namespace(**SMALL | {"openvino": True, "precision": "fp32"})
    with benchmark("steps") as steps:
        measured, _ = steps.measure_steps(options, only=("diffusers", "diffusers, OpenVINO"))
    (apart,) = measured.differences["diffusers, OpenVINO", "output"]
    assert apart.relative < 1e-4
