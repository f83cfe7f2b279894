"""Motion modules that learn under a network that shows frames of the clips."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.training.options import changed

from animatediff.errors import InputError
from animatediff.runtime import seeded
from animatediff.training.lessons.hinted import SparseLesson
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.stages.job import Job
from animatediff.training.stages.stage_options import StageOptions
from animatediff.weights.inspect import inspect
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]


@pytest.fixture
def network(setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path) -> Path:
    """A SparseCtrl network whose residuals are not zero."""
    job = STAGES["sparse-control"].prepare(
        setup_of("sparse-control", tmp_path), options_of("sparse-control"), CPU
    )
    seed = seeded("network")
    learned = {
        name: weight + 0.1 * torch.randn(weight.shape, generator=seed) if weight.ndim else weight
        for name, weight in job.lesson.learns.state_dict().items()
    }
    return job.save(learned)


def prepared(
    network: Path, setup_of: SetupOf, options_of: OptionsOf, folder: Path
) -> tuple[Job, SparseLesson]:
    setup = changed(setup_of("motion", folder), pictures=str(network))
    job = STAGES["motion"].prepare(setup, options_of("motion"), CPU)
    assert isinstance(job.lesson, SparseLesson)
    return job, job.lesson


def test_motion_learns_and_the_network_stays_as_it_is(
    network: Path, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    job, lesson = prepared(network, setup_of, options_of, tmp_path)
    shown = lesson.steered.network
    assert isinstance(shown, torch.nn.Module)
    before = {name: weight.clone() for name, weight in shown.state_dict().items()}
    start = {name: weight.clone() for name, weight in lesson.learns.state_dict().items()}
    options = replace(options_of("motion"), ema_decay=0.0)
    learned = train(lesson, options, tmp_path / "run", facts=job.facts)
    assert any(not torch.equal(start[name], weight) for name, weight in learned.items())
    assert all(torch.equal(before[name], weight) for name, weight in shown.state_dict().items())
    assert inspect(job.save(learned)).kind == "motion"


def test_some_batches_show_nothing_and_are_predicted_without_the_network(
    network: Path, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    _, lesson = prepared(network, setup_of, options_of, tmp_path)
    _, plain = prepared(network, setup_of, options_of, tmp_path)
    plain.denoising.predict_noise = plain.steered.denoise  # pyright: ignore[reportAttributeAccessIssue]
    batch = lesson.fetch(torch.arange(2), seeded("batch"))
    equal: list[bool] = []
    for number in range(12):
        losses = [each.losses(batch, seeded("step", number))["loss"] for each in (lesson, plain)]
        assert (not lesson.steered.embedded) == bool(torch.equal(*losses))
        equal.append(bool(torch.equal(*losses)))
    assert 1 <= sum(equal) <= 6


def test_a_network_that_follows_every_frame_is_refused(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    job = STAGES["control"].prepare(setup_of("control", tmp_path), options_of("control"), CPU)
    path = job.save(dict(job.lesson.learns.state_dict()))
    with pytest.raises(InputError, match="SparseCtrl rgb network as --pictures"):
        prepared(path, setup_of, options_of, tmp_path)
