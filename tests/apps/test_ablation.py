"""``animatediff ablation``: what it trains, and what it says when something is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("matplotlib", reason="plots need matplotlib")

from animatediff.apps.cli import main
from animatediff.apps.commands.evaluation import ablation as ablations
from animatediff.apps.commands.evaluation.ablation import AblationOptions
from animatediff.apps.commands.train import TrainOptions
from animatediff.apps.options.parsing import parse
from animatediff.apps.progress import Quiet
from animatediff.apps.questions import training
from animatediff.errors import InputError


def test_the_training_command_is_one_that_train_understands(tmp_path: Path) -> None:
    options = AblationOptions("motion-lora-rank", work=tmp_path, train_steps=3)
    words = training.command(options, output=tmp_path / "a.safetensors", rank=8, clips=50)
    assert words[0] == "train"
    parsed = parse(TrainOptions, words[1:], command="train", summary="")
    assert parsed.stage == "motion-lora"
    given = {**parsed.options.values, **parsed.recipe.values}
    expected = {"pattern": "zoom-in:0.6", "rank": 8, "clips": 50, "steps": 3, "model": "emoji"}
    assert given | expected == given


def test_only_what_is_missing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = AblationOptions("motion-lora-rank", work=tmp_path, train_steps=3)
    ran: list[list[str]] = []

    class Done:
        returncode = 0

    def run(words: list[str], *, check: bool) -> Done:
        assert not check
        ran.append(words)
        Path(words[words.index("--output") + 1]).touch()
        return Done()

    monkeypatch.setattr(training.subprocess, "run", run)

    def trained(rank: int) -> Path:
        return training.trained_motion_lora(
            options, name=f"rank-{rank}", rank=rank, clips=50, progress=Quiet()
        )

    first = trained(8)
    assert trained(8) == first
    assert len(ran) == 1
    assert trained(2) != first
    assert len(ran) == 2
    Done.returncode = 4
    with pytest.raises(InputError, match=r"rank-32\.safetensors ended with the exit code 4"):
        trained(32)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["adapter"], 3, "holds no shards (*.tar)"),
        (["module", "--rival", "none"], 2, "compares two motion modules"),
        (["composition", "--together", "zoom-in", "nowhere"], 2, "nowhere"),
        (["control", "--control", "nowhere"], 2, "nowhere"),
        (["module", "--count", "0"], 2, "count = 0 is out of range; choose 1 or more."),
        (["motion-lora-rank", "--ranks", "2", "0"], 2, "ranks = 0 is out of range"),
        (["everything"], 2, "name cannot be 'everything'; it is one of 'adapter',"),
    ],
)
def test_what_is_missing_is_one_sentence(
    words: list[str], code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["ablation", *words, "--work", str(tmp_path / "w"), "--results", str(tmp_path / "r")]
    assert main(line) == code
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_every_ablation_has_a_page() -> None:
    from typing import get_args

    from animatediff.evaluation.paper.charts import CHARTS
    from animatediff.evaluation.paper.experiments import EXPERIMENTS

    names = set(get_args(ablations.AblationName))
    assert names <= CHARTS.keys()
    assert names <= {experiment.name for experiment in EXPERIMENTS}
    assert names == ablations._ABLATIONS.keys()
