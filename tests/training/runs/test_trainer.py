"""The loop: exact resume, averaged weights, samples as a pure function of the step."""

from __future__ import annotations

import json
import os
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from animatediff.errors import Cancelled, InputError, Interrupted, NumericalError, OutputError
from animatediff.training.lessons.lesson import numbers_themselves
from animatediff.training.recipe import OptimizerName, Recipe, warmup_steps
from animatediff.training.runs.batches import samples_of
from animatediff.training.runs.trainer import StepDone, learning_rate_at, train
from animatediff.training.steps.optimizers import Optimizers

OPTIONS = Recipe(
    steps=12,
    batch_size=4,
    learning_rate=1e-2,
    warmup=3,
    save_every=4,
    log_every=1,
    precision="fp32",
)


class Regression:
    """Fit a line through noisy points; ``stop_at`` ends the process's run there, as a system does."""

    fetch = staticmethod(numbers_themselves)

    def __init__(
        self,
        *,
        stop_at: int | None = None,
        broken: bool = False,
        signal_number: int = signal.SIGTERM,
    ) -> None:
        torch.manual_seed(0)
        self.learns: nn.Module = nn.Linear(3, 1)
        self.points = torch.randn(10, 3)
        self.size = 10
        self.stop_at, self.broken, self.calls = stop_at, broken, 0
        self.signal_number = signal_number

    def losses(self, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == self.stop_at:
            os.kill(os.getpid(), self.signal_number)
        noise = torch.randn(len(indices), 1, generator=generator)
        loss = (self.learns(self.points[indices]) - noise).square().mean()
        return {"loss": loss * (float("nan") if self.broken else 1)}


def losses_in(folder: Path) -> list[float]:
    return [
        json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stop_at", [1, 4, 7, 11])
def test_a_stopped_and_resumed_run_repeats_the_uninterrupted_one_exactly(
    tmp_path: Path, stop_at: int, optimizer: OptimizerName
) -> None:
    options = replace(OPTIONS, optimizer=optimizer)
    whole = train(Regression(), options, tmp_path / "whole")
    with pytest.raises(Interrupted, match=f"after step {stop_at}"):
        train(Regression(stop_at=stop_at), options, tmp_path / "parts")
    resumed = train(Regression(), options, tmp_path / "parts")
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses_in(tmp_path / "whole") == losses_in(tmp_path / "parts")


def test_ctrl_c_is_told_apart_from_the_system(tmp_path: Path) -> None:
    with pytest.raises(Cancelled, match="after step 2"):
        train(Regression(stop_at=2, signal_number=signal.SIGINT), OPTIONS, tmp_path)


def test_a_save_is_tried_before_the_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = Regression()
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError):
        train(lesson, OPTIONS, tmp_path / "file" / "run")
    assert lesson.calls == 0
    usage = type("Usage", (), {"free": 10})
    monkeypatch.setattr("animatediff.training.runs.run.shutil.disk_usage", lambda place: usage)
    with pytest.raises(OutputError, match="GB free"):
        train(lesson, OPTIONS, tmp_path / "full")
    assert lesson.calls == 0


def test_a_damaged_newest_checkpoint_is_told_and_its_steps_repeated(tmp_path: Path) -> None:
    whole = train(Regression(), OPTIONS, tmp_path / "whole")
    train(Regression(), OPTIONS, tmp_path / "run")
    newest = max((tmp_path / "run").glob("step-*"))
    (newest / "state.json").write_text("{")
    said: list[str] = []
    again = train(Regression(), OPTIONS, tmp_path / "run", tell=said.append)
    assert any("damaged" in sentence for sentence in said)
    assert "resumed after step 8" in said
    assert all(torch.equal(whole[name], again[name]) for name in whole)


def test_processes_and_accumulation_are_the_same_micro_batches(tmp_path: Path) -> None:
    train(Regression(), replace(OPTIONS, steps=2), tmp_path)
    state = json.loads((tmp_path / "step-00000002" / "state.json").read_text())
    assert state["batches"] == OPTIONS.accumulate


def test_terms_that_are_sometimes_absent_are_averaged_over_when_they_were_there(
    tmp_path: Path,
) -> None:
    class Sometimes(Regression):
        def losses(self, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            terms = super().losses(indices, generator)
            odd = torch.tensor(float(self.calls) if self.calls % 2 else float("nan"))
            return {**terms, "odd": odd, "never": torch.tensor(float("nan"))}

    train(Sometimes(), replace(OPTIONS, log_every=4), tmp_path)
    lines = [json.loads(x) for x in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["odd"] for line in lines] == [2, 6, 10]
    assert all(line["never"] is None for line in lines)


def test_tensorboard_that_is_not_installed_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match="install the extra"):
        train(Regression(), OPTIONS, tmp_path, tensorboard=True)


def test_tensorboard_gets_every_number_of_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            assert purge_step == 1

        def add_scalar(self, tag: str, value: float, step: int) -> None:
            shown.append((tag, value, step))

        def close(self) -> None:
            shown.append(("closed", 0.0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    train(Regression(), OPTIONS, tmp_path, tensorboard=True)
    assert [value for tag, value, _ in shown if tag == "loss"] == losses_in(tmp_path)
    assert shown[-1][0] == "closed"


def test_a_run_killed_between_checkpoints_repeats_its_lost_steps_exactly(tmp_path: Path) -> None:
    whole = train(Regression(), OPTIONS, tmp_path / "whole")

    class Killed(Exception):
        pass

    lesson = Regression()
    losses = lesson.losses

    def dying(indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        if lesson.calls == 6:
            raise Killed
        return losses(indices, generator)

    lesson.losses = dying
    with pytest.raises(Killed):
        train(lesson, OPTIONS, tmp_path / "killed")
    assert len(losses_in(tmp_path / "killed")) == 6
    resumed = train(Regression(), OPTIONS, tmp_path / "killed")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)
    assert losses_in(tmp_path / "whole") == losses_in(tmp_path / "killed")


def test_a_run_is_not_resumed_with_other_options(tmp_path: Path) -> None:
    train(Regression(), OPTIONS, tmp_path)
    with pytest.raises(InputError, match=r"learning_rate 0\.01 -> 0\.5"):
        train(Regression(), replace(OPTIONS, learning_rate=0.5), tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_run_at_a_constant_rate_goes_on_to_more_steps(
    tmp_path: Path, optimizer: OptimizerName
) -> None:
    options = replace(OPTIONS, schedule="constant", optimizer=optimizer)
    whole = train(Regression(), options, tmp_path / "whole")
    train(Regression(), replace(options, steps=7), tmp_path / "longer")
    longer = train(Regression(), options, tmp_path / "longer")
    assert all(torch.equal(whole[name], longer[name]) for name in whole)
    assert losses_in(tmp_path / "whole") == losses_in(tmp_path / "longer")


def test_a_run_that_has_gone_further_or_whose_rate_falls_keeps_its_steps(tmp_path: Path) -> None:
    constant = replace(OPTIONS, schedule="constant")
    train(Regression(), constant, tmp_path / "constant")
    with pytest.raises(InputError, match="steps 12 -> 7"):
        train(Regression(), replace(constant, steps=7), tmp_path / "constant")
    train(Regression(), OPTIONS, tmp_path / "cosine")
    with pytest.raises(InputError, match="steps 12 -> 20"):
        train(Regression(), replace(OPTIONS, steps=20), tmp_path / "cosine")


def test_gradients_that_are_not_numbers_are_skipped_then_refused(tmp_path: Path) -> None:
    lesson = Regression(broken=True)
    before = {k: v.clone() for k, v in lesson.learns.state_dict().items()}
    with pytest.raises(NumericalError, match="ten steps in a row"):
        train(lesson, OPTIONS, tmp_path)
    assert all(torch.equal(before[k], v) for k, v in lesson.learns.state_dict().items())


def test_accumulated_batches_learn_as_one_large_batch_does(tmp_path: Path) -> None:
    class Plain(Regression):
        def losses(self, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            return {"loss": self.learns(self.points[indices]).square().mean()}

    whole = train(Plain(), OPTIONS, tmp_path / "whole")
    parts = train(Plain(), replace(OPTIONS, batch_size=2, accumulate=2), tmp_path / "parts")
    assert all(torch.allclose(whole[k], parts[k], atol=1e-6) for k in whole)


def test_every_pass_shows_every_sample_once_in_an_order_of_its_own() -> None:
    shown = torch.cat([samples_of(step, seed=1, size=7, batch_size=2) for step in range(7)])
    first, second = shown[:7].tolist(), shown[7:].tolist()
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


def test_the_rate_warms_up_and_ends_near_a_twentieth() -> None:
    options = replace(OPTIONS, steps=1000, warmup=10)
    assert learning_rate_at(0, options) == pytest.approx(1e-3, rel=1e-3)
    assert learning_rate_at(10, options) == pytest.approx(1e-2, rel=1e-3)
    assert learning_rate_at(999, options) == pytest.approx(5e-4, rel=1e-2)


def test_options_without_steps_are_refused() -> None:
    with pytest.raises(InputError, match="steps = 0 is out of range"):
        replace(OPTIONS, steps=0)


def test_a_warm_up_longer_than_the_run_shrinks_to_a_tenth_of_it() -> None:
    short = replace(OPTIONS, steps=40, warmup=100, schedule="constant")
    assert warmup_steps(short) == 4
    rates = [learning_rate_at(step, short) for step in range(40)]
    assert rates[3:] == [short.learning_rate] * 37
    assert warmup_steps(replace(short, warmup=40)) == 40
    assert warmup_steps(replace(short, steps=3)) == 1


def test_adam_takes_the_betas_that_are_asked_for(tmp_path: Path) -> None:
    weight = {"w": torch.nn.Parameter(torch.ones(2))}
    optimizers = Optimizers(weight, name="adamw", weight_decay=0.0, adam_betas=(0.5, 0.75))
    weight["w"].grad = torch.tensor([1.0, 2.0])
    optimizers.step(rate=0.1)
    state = optimizers.state()
    assert torch.allclose(state["w::exp_avg"], torch.tensor([0.5, 1.0]))
    assert torch.allclose(state["w::exp_avg_sq"], torch.tensor([0.25, 1.0]))


def test_every_step_is_reported_with_its_loss_and_rate(tmp_path: Path) -> None:
    seen: list[StepDone] = []
    options = replace(OPTIONS, steps=4, log_every=2)
    train(Regression(), options, tmp_path, on_step=seen.append)
    assert [done.step for done in seen] == [1, 2, 3, 4]
    assert [done.logged for done in seen] == [False, True, False, True]
    assert all(done.rate == learning_rate_at(done.step - 1, options) for done in seen)
    assert all(done.loss == done.loss for done in seen)


def test_a_stop_while_a_checkpoint_is_shown_ends_the_run_there(tmp_path: Path) -> None:
    options = replace(OPTIONS, steps=6, save_every=2)
    asked: list[bool] = []

    def on_save(step: int, weights: dict[str, Tensor], stopping: Callable[[], bool]) -> None:
        asked.append(stopping())
        os.kill(os.getpid(), signal.SIGINT)
        asked.append(stopping())

    with pytest.raises(Cancelled, match="after step 2"):
        train(Regression(), options, tmp_path, on_save=on_save)
    assert asked == [False, True]
