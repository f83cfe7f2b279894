"""``recipes/reproduce.sh --quick`` runs every line of the paper on a small world, and resumes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import typing
from pathlib import Path

import pytest
from tests.training.small_world import write_small_art

from animatediff.apps.cli import COMMANDS
from animatediff.apps.options.parsing import parse

ROOT = Path(__file__).parents[1]
SECONDS = 600
EXPERIMENTS = (
    "transfer",
    "table1",
    "ablations/adapter",
    "ablations/module",
    "ablations/motion-lora-rank",
    "ablations/motion-lora-clips",
    "ablations/composition",
    "ablations/control",
)


@pytest.mark.parametrize("quick", [True, False])
def test_every_line_is_a_command_that_there_is(quick: bool, tmp_path: Path) -> None:
    """The lines go to a program that only keeps them; then each is parsed, and none is run."""
    said, program = tmp_path / "lines", tmp_path / "animatediff"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"with open({str(said)!r}, 'a') as file:\n"
        "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    program.chmod(0o755)
    environment = os.environ | {"ANIMATEDIFF": str(program)}

    def run(results: str) -> list[list[str]]:
        said.write_text("")
        words = ["bash", "recipes/reproduce.sh", *(["--quick"] if quick else [])]
        words += [str(tmp_path / name) for name in ("work", results, "pages")]
        subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)
        return [json.loads(line) for line in said.read_text().splitlines()]

    lines = run("results")
    assert {line[0] for line in lines} == {"dataset", "train", "evaluate", "ablation", "paper"}
    for line in lines:
        command = next(c for n in (2, 1) for c in COMMANDS if c.name.split() == line[:n])
        rest = line[len(command.name.split()) :]
        hints = typing.get_type_hints(command.function(), include_extras=True)
        options = next(hint for name, hint in hints.items() if name != "return")
        parse(options, rest, command=command.name, summary="")
        takes_long = line[0] in ("train", "ablation") or line[1] in ("transfer", "table1")
        shortened = "--steps" in line and line[line.index("--steps") + 1] == "2"
        assert shortened == (quick and takes_long), line
    # A second run only writes the pages. Another folder of results is measured, with what was trained.
    assert [line[0] for line in run("results")] == ["paper"]
    again = [line for line in run("more") if line[0] not in ("paper",)]
    assert [line[:2] for line in again] == [
        line[:2] for line in lines if line[0] in ("evaluate", "ablation")
    ]


@pytest.mark.slow
@pytest.mark.weights
def test_the_whole_paper_is_made_from_the_package_in_ten_minutes(tmp_path: Path) -> None:
    work, results, pages = tmp_path / "work", tmp_path / "results", tmp_path / "pages"
    write_small_art(work, styles=("noto", "high-contrast", "flat", "3d"))
    words = ["bash", "recipes/reproduce.sh", "--quick", *map(str, (work, results, pages))]
    environment = os.environ | {"ANIMATEDIFF": f"{sys.executable} -m animatediff"}

    def run() -> str:
        done = subprocess.run(
            words,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=2 * SECONDS,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    started = time.monotonic()
    run()
    assert time.monotonic() - started < SECONDS
    for name in EXPERIMENTS:
        assert json.loads((results / f"{name}.json").read_text())["rows"], name
    index = (pages / "index.md").read_text()
    rows = [line for line in index.splitlines() if line.startswith("|")][2:]
    # Only the user study needs people.
    assert [row for row in rows if "not measured" in row and "Users rank" not in row] == []
    assert (results / "table1" / "index.html").exists()

    # A second run skips what is done and writes the same pages.
    before = {path.name: path.read_bytes() for path in pages.iterdir()}
    assert "==" not in run()
    assert {path.name: path.read_bytes() for path in pages.iterdir()} == before
