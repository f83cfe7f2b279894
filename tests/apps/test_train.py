"""The command ``train``: its options, a run from one's own clips to a file, and that it learns."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from animatediff.apps.cli import main
from animatediff.apps.train import Options, chosen, run_name
from animatediff.errors import InputError
from animatediff.training.runs.meters import read_metrics
from animatediff.training.stages.table import STAGES
from animatediff.video import Video

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fractions import Fraction

    folder = tmp_path_factory.mktemp("clips")
    picture = np.random.default_rng(0).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    picture = picture.repeat(10, axis=0).repeat(10, axis=1)
    for number in range(2):
        frames = np.stack([np.roll(picture, 3 * i, axis=1) for i in range(8)])
        Video(frames, Fraction(8)).save(folder / f"fox-{number}.mp4")
    return folder


def words(stage: str, *, work: Path, clips: Path, tiny_world: Path, tiny_motion: Path) -> list[str]:
    given = {
        "--work": work,
        "--model": tiny_world,
        "--motion": tiny_motion,
        "--data": clips,
        "--output": work / "mine.safetensors",
        "--frames": 4,
        "--rank": 2,
        "--precision": "fp32",
        "--device": "cpu",
        "--log-every": 1,
    }
    return ["train", stage, *(str(word) for pair in given.items() for word in pair)]


def test_own_clips_become_a_motion_lora_a_page_and_validation_clips(
    tmp_path: Path,
    clips: Path,
    tiny_world: Path,
    tiny_motion: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = words(
        "motion-lora", work=tmp_path, clips=clips, tiny_world=tiny_world, tiny_motion=tiny_motion
    )
    line += ["--steps", "2", "--batch-size", "1", "--validate", "a fox"]
    assert main(line) == 0, capsys.readouterr().err
    assert (tmp_path / "mine.safetensors").exists()
    run = tmp_path / "runs" / "motion-lora-mine"
    assert len(list((run / "clips").glob("*.webp"))) == 1
    assert "data:image/webp" in (run / "report.html").read_text()
    assert "resumed" not in capsys.readouterr().out
    assert main(line) == 0
    assert "resumed after step 2" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["domain-adapter", "motion", "motion-lora", "personalise-lora"])
def test_every_stage_learns_one_clip_by_heart(
    stage: str, tmp_path: Path, clips: Path, tiny_world: Path, tiny_motion: Path
) -> None:
    line = words(stage, work=tmp_path, clips=clips, tiny_world=tiny_world, tiny_motion=tiny_motion)
    steps = "40"
    line += ["--preset", "overfit-one-clip", "--steps", steps, "--batch-size", "4"]
    assert main([*line, "--learning-rate", "1e-2"]) == 0
    folder = tmp_path / "runs" / f"{stage}-mine-overfit-one-clip"
    losses = [line["loss"] for line in read_metrics(folder / "metrics.jsonl")]
    assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:5])


def test_options_that_are_left_out_are_the_row_s() -> None:
    row = STAGES["motion-lora"].options
    setup, recipe = chosen(Options("motion-lora"), row, device=CPU)
    assert recipe == replace(row, precision=recipe.precision)
    assert setup.num_frames == 16
    asked = Options("motion-lora", learning_rate=1.0, steps=7, optimizer="muon", layers="all")
    setup, faster = chosen(asked, row, device=CPU)
    assert (faster.learning_rate, faster.steps, faster.optimizer) == (1.0, 7, "muon")
    assert setup.layers == "all"


def test_a_preset_yields_to_what_is_asked_for_and_a_wrong_one_is_named() -> None:
    row = STAGES["motion-lora"].options
    setup, recipe = chosen(
        Options("motion-lora", preset="overfit-one-clip", steps=5), row, device=CPU
    )
    assert (setup.clips, setup.variations, recipe.steps) == (1, 1, 5)
    with pytest.raises(InputError, match="did you mean overfit-one-clip"):
        chosen(Options("motion-lora", preset="overfit-one-clp"), row, device=CPU)


def test_runs_that_differ_have_folders_of_their_own() -> None:
    names = [
        run_name(options)
        for options in (
            Options("motion-lora"),
            Options("motion-lora", pattern="zoom-in"),
            Options("motion-lora", output=Path("a/fox.safetensors")),
            Options("motion-lora", preset="overfit-one-clip"),
        )
    ]
    assert len(set(names)) == 4


def test_tensorboard_that_is_not_installed_is_told_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    work = tmp_path / "work"
    line = ["train", "motion-lora", "--work", str(work), "--model", "no-such-model"]
    assert main([*line, "--tensorboard"]) == 2
    said = capsys.readouterr().err.strip()
    assert said.splitlines() == [said]
    assert "pip install 'animatediff[train]'" in said
    assert not work.exists()


def test_training_imports_nothing_that_samples() -> None:
    assert importlib.util.find_spec("animatediff.training.runs.trainer") is not None
    source = Path(sys.modules["animatediff.training.stages.table"].__file__ or "").parent
    assert not any("animatediff.sampling" in p.read_text() for p in source.glob("*.py"))


@pytest.mark.parametrize(("computes", "precision"), [(False, "fp32"), (True, "bf16")])
def test_bf16_is_chosen_only_where_the_device_computes_in_it(
    monkeypatch: pytest.MonkeyPatch, computes: bool, precision: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": computes})
    row = STAGES["motion-lora"].options
    setup, recipe = chosen(Options("motion-lora"), row, device=CPU)
    assert (setup.precision, recipe.precision) == (precision, precision)
    _, told = chosen(Options("motion-lora", precision="bf16"), row, device=CPU)
    assert told.precision == "bf16"
