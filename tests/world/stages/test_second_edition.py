"""Every line of the second edition's recipe runs on a small world, and what it writes draws."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from animatediff.apps.cli import main
from animatediff.training.stages.stage_options import StageOptions

ROOT = Path(__file__).parents[3]
QUICK = ("--precision", "fp32", "--device", "cpu", "--frames", "4", "--batch-size", "2")
"""After the recipe's own words, so that its stages are quick here."""
SMALL = ("--frames", "4", "--steps", "2", "--size", "32x32", "--device", "cpu")
DRAWS = {
    "domain-adapter": ("--adapter", ":1"),
    "motion": ("--motion", ""),
    "motion-lora": ("--motion-lora", ":1"),
    "personalise-lora": ("--lora", ":1"),
    "personalise-dreambooth": ("--model", ""),
    "personalise-inversion": ("--embedding", ""),
}
"""What the file of each stage is given to the animator as."""


def lines_of(recipe: Path, work: Path) -> list[list[str]]:
    """The commands that a recipe runs, in their order, with two steps for each stage."""
    told = work / "commands"
    program = work / "animatediff"
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"with open({str(told)!r}, 'a') as file:\n"
        "    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
    )
    program.chmod(0o755)
    subprocess.run(
        ["bash", str(recipe), str(work)],
        check=True,
        env=os.environ | {"ANIMATEDIFF": str(program), "STEPS": "2", "CLIP": "45"},
        timeout=300,
    )
    return [json.loads(line) for line in told.read_text().splitlines()]


@pytest.mark.slow
def test_every_stage_runs_and_what_it_writes_draws(
    small_setup_of: Callable[[str, Path], StageOptions],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    work = small_setup_of("motion-lora", tmp_path / "work").work
    recipe = lines_of(ROOT / "recipes/emoji/second-edition.sh", work)
    assert {x[0] for x in recipe} == {"train", "convert", "pack", "evaluate"}
    # Everything that is trained is packed before it is measured.
    commands = [x[0] for x in recipe]
    assert commands.count("pack") == 1
    assert set(commands[: commands.index("pack")]) == {"train", "convert"}
    assert set(commands[commands.index("pack") + 1 :]) == {"evaluate"}
    made = [x for x in recipe if x[0] in ("train", "convert")]
    lines = [x for x in recipe if x[0] == "train"]
    assert {x[1] for x in lines} == DRAWS.keys()
    kept: dict[Path, str] = {}
    for line in made:
        if line[0] == "convert":
            assert main(line) == 0, (line, capsys.readouterr().err)
            kept[Path(line[line.index("-o") + 1])] = "motion-lora"
            continue
        assert main([*line, *QUICK]) == 0, (line, capsys.readouterr().err)
        told = capsys.readouterr().out.splitlines()
        path = next(Path(x.removeprefix("kept ")) for x in told if x.startswith("kept "))
        assert path.exists()
        kept[path] = line[1]
    assert len(kept) == len(made)

    world = work / "world"
    start = {"--model": world / "emoji", "--motion": world / "motion" / "emoji.safetensors"}
    for number, (path, stage) in enumerate(kept.items()):
        drawn = tmp_path / f"{number}.gif"
        option, ending = DRAWS[stage]
        given = start | {option: f"{path}{ending}", "--output": drawn}
        words = [str(word) for pair in given.items() for word in pair]
        assert main(["animate", "a fox", *words, *SMALL]) == 0, (path, capsys.readouterr().err)
        assert drawn.stat().st_size > 0
