"""``recipes/gpu.sh`` keeps its time limits, resumes step by step, and says when there is no GPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from tests.benchmarks.programs import benchmark
from tests.training.small_world import write_small_art

from animatediff.apps.cli import COMMANDS
from animatediff.apps.options.parsing import parse

ROOT = Path(__file__).parents[1]
RECIPE = ROOT / "recipes" / "gpu.sh"
NO_GPU = 3


def program(folder: Path, *, gpu: bool, fails: str = "") -> tuple[Path, Path]:
    """A stub of Python that keeps its arguments, and where it keeps them."""
    kept, path = folder / "lines", folder / "python"
    path.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"with open({str(kept)!r}, 'a') as file:\n"
        "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        f"sys.exit('is_available' in sys.argv[-1] and 'exit' in sys.argv[-1] and {not gpu})\n"
        if not fails
        else f"#!{sys.executable}\nimport sys\nsys.exit({fails!r} in sys.argv)\n"
    )
    path.chmod(0o755)
    return path, kept


def run(folder: Path, python: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["bash", str(RECIPE), *options, str(folder / "work"), str(folder / "results")]
    environment = os.environ | {"PYTHON": str(python)}
    environment.pop("ANIMATEDIFF", None)
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def test_without_a_gpu_it_says_so_and_measures_nothing(tmp_path: Path) -> None:
    python, kept = program(tmp_path, gpu=False)
    done = run(tmp_path, python)
    assert done.returncode == NO_GPU
    assert done.stderr.count("\n") == 1
    assert "no GPU that torch can use" in done.stderr
    assert len(kept.read_text().splitlines()) == 1
    assert not (tmp_path / "results").exists()
    assert f"exits with {NO_GPU}" in RECIPE.read_text()


@pytest.mark.parametrize("dry", [True, False])
def test_every_line_is_understood_and_a_finished_step_is_skipped(dry: bool, tmp_path: Path) -> None:
    python, kept = program(tmp_path, gpu=True)
    options = ["--dry-run"] if dry else []
    done = run(tmp_path, python, *options)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    trained = next(line for line in lines if "train" in line)
    assert trained[:4] == ["-m", "animatediff", "train", "motion"]
    command = next(each for each in COMMANDS if each.name == "train")
    hints = typing.get_type_hints(command.function(), include_extras=True)
    wanted = next(hint for name, hint in hints.items() if name != "return")
    parse(wanted, trained[3:], command=command.name, summary="")
    steps = [line for line in lines if "benchmarks/measure.py" in line]
    assert {line[line.index("--device") + 1] for line in steps} == {"cpu" if dry else "cuda"}
    assert any("--compiled" in line for line in steps) is not dry
    assert any("--gains" in line for line in steps)
    (memory,) = (line for line in lines if "benchmarks/gpu_memory.py" in line)
    assert memory[memory.index("--device") + 1] == ("cpu" if dry else "cuda")
    for line in (*steps, memory):
        with benchmark(Path(line[0]).stem) as module:
            module.parser().parse_args(line[1:])
    tested = next(line for line in lines if "pytest" in line)
    assert ("tests/parity/test_low_memory.py" in tested) is not dry
    again = run(tmp_path, python, *options)
    assert again.returncode == 0
    assert "==" not in again.stdout


def test_a_failed_step_is_named_and_tried_again_and_the_others_run(tmp_path: Path) -> None:
    failing, _ = program(tmp_path, gpu=True, fails="train")
    done = run(tmp_path, failing, "--dry-run")
    assert done.returncode == 1
    assert "not done: training" in done.stderr
    working, kept = program(tmp_path, gpu=True)
    assert run(tmp_path, working, "--dry-run").returncode == 0
    assert len(kept.read_text().splitlines()) == 1


def test_its_limits_add_up_to_twenty_minutes() -> None:
    words = [line.split() for line in RECIPE.read_text().splitlines()]
    after = [line[line.index("once") + 1 :] for line in words if "once" in line]
    limits = [int(rest[1]) for rest in after if rest[1:] and rest[1].isdigit()]
    installing = [int(line[1]) for line in words if line[:1] == ["timeout"]]
    assert (len(limits), len(installing)) == (8, 1)
    assert sum(limits) + sum(installing) <= 20 * 60


@pytest.mark.slow
@pytest.mark.weights
def test_a_dry_run_measures_on_the_cpu(tmp_path: Path) -> None:
    write_small_art(tmp_path / "work", styles=("noto", "high-contrast", "flat", "3d"))
    words = ["bash", str(RECIPE), "--dry-run", str(tmp_path / "work"), str(tmp_path / "results")]
    environment = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "results").glob("denoising-step-*.md"))) == 2
    assert len(list((tmp_path / "results").glob("gpu-memory_cpu_*.md"))) == 1
    assert (tmp_path / "work" / "motion.safetensors").exists()
