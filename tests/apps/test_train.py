"""The command ``train``: its options, a run from one's own clips to a file, and that it learns."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from animatediff.apps.cli import main
from animatediff.apps.commands.train import TrainOptions, choose, run_name, save_config
from animatediff.apps.options.declared import Given
from animatediff.apps.options.tables import train_tables
from animatediff.apps.train_display import (
    JsonDisplay,
    LiveBar,
    PlainLines,
    Silent,
    duration,
    line_of,
    open_display,
)
from animatediff.errors import InputError
from animatediff.options.declaration import declared
from animatediff.training.lessons.clips import ClipLesson
from animatediff.training.runs.meters import read_metrics
from animatediff.training.runs.trainer import StepDone
from animatediff.training.stages.option_groups import GROUPS
from animatediff.video import Video
from animatediff.world.stages.table import STAGES

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
    given: dict[str, object] = {
        "--work": work,
        "--model": tiny_world,
        "--data": clips,
        "--output": work / "mine.safetensors",
        "--precision": "fp32",
        "--device": "cpu",
        "--log-every": 1,
    }
    if stage in ("motion", "motion-lora"):
        given |= {"--motion": tiny_motion, "--frames": 4}
    if stage != "motion":
        given |= {"--rank": 2}
    pairs = [str(word) for pair in given.items() for word in pair]
    return ["train", stage, "--caption-from-names", *pairs]


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


def asked(stage: str, recipe: dict[str, Any] | None = None, **options: Any) -> TrainOptions:
    preset = options.pop("preset", None)
    config = options.pop("config", None)
    return TrainOptions(stage, Given(options), Given(recipe or {}), preset=preset, config=config)


def test_options_that_are_left_out_are_the_stage_s() -> None:
    own = STAGES["motion-lora"].recipe
    chosen = choose(asked("motion-lora"), device=CPU)
    assert chosen.recipe == replace(own, precision=chosen.recipe.precision)
    assert chosen.options.values["frames"] == 16
    recipe = {"learning_rate": 1.0, "steps": 7, "optimizer": "muon"}
    chosen = choose(asked("motion-lora", recipe, layers="all"), device=CPU)
    faster = chosen.recipe
    assert (faster.learning_rate, faster.steps, faster.optimizer) == (1.0, 7, "muon")
    assert chosen.options.values["layers"] == "all"


def test_a_preset_yields_to_what_is_asked_for_and_a_wrong_one_is_named() -> None:
    chosen = choose(asked("motion-lora", {"steps": 5}, preset="overfit-one-clip"), device=CPU)
    values = chosen.options.values
    assert (values["clips"], values["variations"], chosen.recipe.steps) == (1, 1, 5)
    with pytest.raises(InputError, match="did you mean overfit-one-clip"):
        choose(asked("motion-lora", preset="overfit-one-clp"), device=CPU)


def test_the_paper_s_values_are_a_preset_of_each_of_its_stages() -> None:
    for stage in ("domain-adapter", "motion", "motion-convolution", "motion-lora"):
        chosen = choose(asked(stage, preset="paper"), device=CPU)
        recipe, values = chosen.recipe, chosen.options.values
        assert (recipe.optimizer, recipe.learning_rate) == ("adamw", 1e-4)
        assert recipe.adam_betas == (0.9, 0.999)
        assert (recipe.schedule, recipe.warmup, recipe.ema_decay) == ("constant", 0, 0.0)
        assert (values["size"], values["fps"], values["null_text"]) == (256, 7.5, 0.1)
        assert values.get("frames", 16) == 16
    assert choose(asked("motion", preset="paper"), device=CPU).recipe.batch_size == 4
    with pytest.raises(InputError, match="paper is for the paper's stages"):
        choose(asked("personalise-lora", preset="paper"), device=CPU)


def test_options_saved_as_toml_are_read_back_and_overridden(tmp_path: Path) -> None:
    path = tmp_path / "zoom.toml"
    given = {"pattern": "zoom-in", "scales": (0.5, 1.0), "data": tmp_path, "rank": 8}
    chosen = choose(asked("motion-lora", {"steps": 9, "learning_rate": 1e-3}, **given), device=CPU)
    save_config(path, chosen)
    again = choose(asked("", config=path), device=CPU)
    assert again.name == "motion-lora"
    assert again.options == chosen.options
    assert again.recipe == chosen.recipe
    other = choose(asked("", {"steps": 3}, config=path, rank=4), device=CPU)
    assert (other.recipe.steps, other.options.values["rank"]) == (3, 4)
    path.write_text('stage = "motion-lora"\npatern = "zoom-in"\n')
    with pytest.raises(InputError, match="unknown key patern; did you mean pattern"):
        choose(asked("", config=path), device=CPU)
    path.write_text('stage = "image"\npattern = "zoom-in"\n')
    with pytest.raises(InputError, match="pattern"):
        choose(asked("", config=path), device=CPU)


def test_help_of_a_stage_lists_its_options_and_no_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    listed: dict[str, str] = {}
    for words in (("domain-adapter",), ("motion-lora",), ()):
        assert main(["train", *words, "--help"]) == 0
        listed[" ".join(words)] = capsys.readouterr().out
    assert "--pattern" not in listed["domain-adapter"]
    assert "--rank" in listed["domain-adapter"]
    assert "--pattern" in listed["motion-lora"]
    assert "--word" not in listed["motion-lora"]
    assert "--pattern" in listed[""]
    assert "--word" in listed[""]


def test_an_option_that_a_stage_does_not_take_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "motion", "--work", str(tmp_path), "--word", "<dog>"]) == 2
    assert "does not take --word" in capsys.readouterr().err


def test_every_option_of_training_is_in_the_documentation_s_tables() -> None:
    text = train_tables()
    for group in GROUPS:
        for row in declared(group):
            assert row.flag in text


def test_runs_that_differ_have_folders_of_their_own() -> None:
    names = [
        run_name(choose(command, device=CPU), preset=command.preset)
        for command in (
            asked("motion-lora"),
            asked("motion-lora", pattern="zoom-in"),
            asked("motion-lora", output=Path("a/fox.safetensors")),
            asked("motion-lora", preset="overfit-one-clip"),
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
    assert "install the extra `train`" in said
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
    chosen = choose(asked("motion-lora"), device=CPU)
    assert (chosen.options.precision, chosen.recipe.precision) == (precision, precision)
    chosen = choose(asked("motion-lora", {"precision": "bf16"}), device=CPU)
    assert chosen.recipe.precision == "bf16"


def test_a_run_that_is_stopped_saves_writes_its_report_and_draws_nothing(
    tmp_path: Path,
    clips: Path,
    tiny_world: Path,
    tiny_motion: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = ClipLesson.losses

    def stopped(self: ClipLesson, batch: object, generator: torch.Generator) -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, generator)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ClipLesson, "losses", stopped)
    line = words(
        "motion-lora", work=tmp_path, clips=clips, tiny_world=tiny_world, tiny_motion=tiny_motion
    )
    assert main([*line, "--steps", "9", "--validate", "a fox"]) == 130
    run = tmp_path / "runs" / "motion-lora-mine"
    assert not (run / "clips").exists()
    assert (run / "report.html").exists()
    assert "after step 1" in capsys.readouterr().err


def test_lines_of_a_run_say_step_loss_rate_time_left_and_memory(
    tmp_path: Path,
    clips: Path,
    tiny_world: Path,
    tiny_motion: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = words(
        "motion-lora", work=tmp_path, clips=clips, tiny_world=tiny_world, tiny_motion=tiny_motion
    )
    assert main([*line, "--steps", "3", "--warmup", "9", "--validate", "a fox"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^step 2/3  loss [\d.]+  rate \d.\d+e-\d+  ETA 0:\d\d  memory ", out, re.M)
    assert "warm-up of 1, a tenth of 3" in out
    assert out.index("report.html") < out.index("step 1/3")
    assert "drew " in out


def test_a_terminal_shows_a_live_bar_and_a_pipe_plain_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(open_display("auto", steps=3), PlainLines)
    assert isinstance(open_display("json", steps=3), JsonDisplay)
    assert isinstance(open_display("auto", steps=3, is_first=False), Silent)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with open_display("auto", steps=3) as display:
        assert isinstance(display, LiveBar)
        display.step(StepDone(1, 0.5, 1e-3, logged=False))
        display.say("a sentence")
    assert duration(3723) == "1:02:03"
    assert line_of(
        StepDone(2, float("nan"), 1e-3, logged=True), steps=3, seconds_left=61
    ).startswith("step 2/3  loss -  rate 1.00e-03  ETA 1:01")
