"""Control networks begin without effect, learn from hints that fit their frames, and load back."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.training.options import changed
from torch import Tensor

from animatediff.apps import train_preview
from animatediff.apps.train_preview import previewer
from animatediff.data.shards import on_white, read_shards
from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.control.controlnet import Hinted
from animatediff.model.control.sparse_control import SparseControl
from animatediff.runtime import seeded
from animatediff.training.lessons.denoiser import frame_by_frame
from animatediff.training.lessons.hinted import HintedLesson, SparseLesson, drawn_marks
from animatediff.training.recipe import Recipe
from animatediff.training.runs.report import CLIPS
from animatediff.training.runs.trainer import train
from animatediff.training.stages.job import Job
from animatediff.training.stages.stage_options import StageOptions
from animatediff.video.containers import read_video
from animatediff.video.preprocess import preprocessed
from animatediff.weights.control.file import read_control
from animatediff.weights.control.plan import plan_control
from animatediff.weights.image_model.base_model import load_base_model
from animatediff.weights.inspect import inspect
from animatediff.world.stages.hints import hinted_pictures
from animatediff.world.stages.latents import read_latents
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
STAGE_NAMES = ("control", "sparse-control")
SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]


def prepared(setup: StageOptions, options: Recipe, name: str) -> Job:
    return STAGES[name].prepare(setup, options, CPU)


def batch_of(lesson: HintedLesson | SparseLesson) -> Tensor:
    return lesson.fetch(torch.arange(2), seeded("batch"))


def of(job: Job) -> HintedLesson | SparseLesson:
    assert isinstance(job.lesson, HintedLesson | SparseLesson)
    return job.lesson


@pytest.mark.parametrize(("name", "pictures"), [("control", 2), ("sparse-control", 1)])
def test_validation_clips_are_drawn_under_hints_which_stand_beside_them(
    name: str,
    pictures: int,
    setup_of: SetupOf,
    options_of: OptionsOf,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train_preview, "STEPS", 2)
    job = prepared(setup_of(name, tmp_path), options_of(name), name)
    draw = previewer(job, tmp_path, ["a fox"])
    assert draw is not None
    assert job.frozen is not None
    weights = {n: p.detach().clone() for n, p in of(job).learns.named_parameters()}

    def drawn(step: int, weights: dict[str, Tensor]) -> np.ndarray:
        draw(step, weights, lambda: False)
        return read_video(tmp_path / CLIPS / f"step-{step:08d}-0.webp", max_pixels=10**6)[0]

    side = job.frozen.size
    without = drawn(1, weights)
    assert without.shape[1:] == (side, side * pictures, 3)
    steered = drawn(2, {n: w + 0.3 if w.ndim else w for n, w in weights.items()})
    assert not np.array_equal(without[:, :, -side:], steered[:, :, -side:])
    assert np.array_equal(without[:, :, :-side], steered[:, :, :-side])
    kept = dict(of(job).learns.named_parameters())
    assert all(torch.equal(kept[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("encoder", ["full", "small"])
@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_new_network_leaves_the_image_model_as_it_is(
    name: str, encoder: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of(name, tmp_path), encoder=encoder)
    lesson = of(prepared(setup, options_of(name), name))
    asked: list[tuple[Tensor, ...]] = []
    steered = lesson.denoising.predict_noise

    def noting(latents: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        answer = steered(latents, timesteps, text)
        asked.append((latents, timesteps, text, answer))
        return answer

    lesson.denoising.predict_noise = noting
    loss = lesson.losses(batch_of(lesson), seeded("step"))["loss"]
    latents, timesteps, text, answer = asked[0]
    plain = lesson.steered.denoise
    predict = plain if isinstance(plain, AnimatedUNet) else frame_by_frame(_unet(lesson))
    assert torch.equal(answer, predict(latents, timesteps, text))
    loss.backward()
    learns = lesson.learns
    assert isinstance(learns, Hinted | SparseControl)
    outputs = learns.net.get_submodule("controlnet_down_blocks.0")
    assert any(p.grad is not None and p.grad.abs().max() > 0 for p in outputs.parameters())


def _unet(lesson: HintedLesson | SparseLesson) -> object:
    cells = lesson.steered.denoise.__closure__  # pyright: ignore[reportFunctionMemberAccess]
    return cells[0].cell_contents


@pytest.mark.parametrize("encoder", ["full", "small"])
@pytest.mark.parametrize("name", STAGE_NAMES)
def test_what_a_stage_writes_is_recognised_and_steers_as_the_trained_network(
    name: str,
    encoder: str,
    setup_of: SetupOf,
    options_of: OptionsOf,
    tiny_world: Path,
    tmp_path: Path,
) -> None:
    options = replace(options_of(name), ema_decay=0.0)
    setup = changed(setup_of(name, tmp_path), encoder=encoder)
    job = prepared(setup, options, name)
    lesson = of(job)
    start = {k: v.detach().clone() for k, v in lesson.learns.state_dict().items()}
    learned = train(lesson, options, tmp_path / "run", facts=job.facts)
    assert any(not torch.equal(start[k], v) for k, v in learned.items())
    path = job.save(learned)
    found = inspect(path)
    assert (found.kind, found.version or "rgb") == (
        ("controlnet", found.version or "rgb") if name == "control" else ("sparse-control", "rgb")
    )
    base = load_base_model(tiny_world, dtype=torch.float32, device=CPU)
    plan = plan_control(read_control(path), base.unet)
    assert not plan.notes
    network = plan.load(torch.float32, CPU)
    assert type(network) is type(lesson.learns)
    assert isinstance(network, Hinted | SparseControl)
    loaded = network.state_dict()
    assert loaded.keys() == start.keys()
    assert all(torch.equal(loaded[k], v) for k, v in learned.items())

    again = prepared(
        changed(setup, begin_from=str(path), output=tmp_path / "b.safetensors"), options, name
    )
    assert "begun_from" in again.facts
    continued = of(again).learns.state_dict()
    assert all(torch.equal(continued[k], v) for k, v in learned.items())
    other = "full" if encoder == "small" else "small"
    with pytest.raises(InputError, match="of another kind or size"):
        prepared(changed(setup, begin_from=str(path), encoder=other), options, name)


@pytest.mark.parametrize("hint", ["canny", "shape"])
def test_hints_are_drawn_from_the_frames_of_the_batch(
    hint: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = changed(setup_of("control", tmp_path), hint=hint)
    lesson = of(prepared(setup, options_of("control"), "control"))
    assert isinstance(lesson, HintedLesson)
    batch = lesson.fetch(torch.arange(3), seeded("batch"))
    assert batch.clips.frames is not None
    for frames, hints in zip(batch.clips.frames, batch.hints, strict=True):
        assert np.array_equal(hints.numpy(), preprocessed(frames.numpy(), name=hint))


def test_own_hints_show_the_same_windows_as_the_clips(
    setup_of: SetupOf, options_of: OptionsOf, own_clips: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "hints"
    folder.mkdir()
    for clip in own_clips.glob("*.mp4"):
        shutil.copyfile(clip, folder / clip.name)
    setup = changed(setup_of("control", tmp_path), hints=folder, hint="none")
    job = prepared(setup, options_of("control"), "control")
    lesson = of(job)
    assert isinstance(lesson, HintedLesson)
    batch = lesson.fetch(torch.arange(3), seeded("batch"))
    assert batch.clips.frames is not None
    assert torch.equal(batch.hints, batch.clips.frames)
    assert "hints" in job.facts
    next(folder.iterdir()).unlink()
    with pytest.raises(InputError, match="is in --data and not in --hints"):
        prepared(setup, options_of("control"), "control")


def test_hints_that_are_nowhere_are_asked_for(
    setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    setup = setup_of("control", tmp_path)
    with pytest.raises(InputError, match="pass their folder with --hints"):
        prepared(changed(setup, hint="none"), options_of("control"), "control")
    with pytest.raises(InputError, match="pass them with --data"):
        prepared(changed(setup, hints=tmp_path, data=None), options_of("control"), "control")


@pytest.mark.parametrize("name", STAGE_NAMES)
def test_a_resumed_run_repeats_the_uninterrupted_one(
    name: str, setup_of: SetupOf, options_of: OptionsOf, tmp_path: Path
) -> None:
    options = replace(options_of(name), steps=2, schedule="constant")
    setup = setup_of(name, tmp_path)
    job = prepared(setup, options, name)
    whole = train(job.lesson, options, tmp_path / "whole", facts=job.facts)
    half = prepared(setup, options, name)
    train(half.lesson, replace(options, steps=1), tmp_path / "half", facts=half.facts)
    rest = prepared(setup, options, name)
    resumed = train(rest.lesson, options, tmp_path / "half", facts=rest.facts)
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)


def test_marks_show_the_first_frame_alone_or_up_to_half_of_the_frames() -> None:
    marks = drawn_marks(400, 8, seeded("marks"))
    counts = marks.sum(1)
    assert (counts.min(), counts.max()) == (1, 4)
    first = ((counts == 1) & (marks[:, 0] == 1)).float().mean()
    assert 0.4 < first < 0.65


def test_the_world_s_hints_belong_to_its_pictures(written_world: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    shutil.copytree(written_world, work)
    pictures, hints = hinted_pictures(work, hint="canny")
    frames = np.concatenate(
        [
            preprocessed(on_white(sample.frames()), name="canny")
            for kind in ("stills", "clips")
            for sample in read_shards(work / kind)
        ]
    )
    latents = torch.cat(
        [read_latents(work / f"latents-{kind}.safetensors").frames for kind in ("stills", "clips")]
    )
    for index in range(20):
        shown = pictures.footage(index, num_frames=1, generator=seeded("window", index))
        hint = hints.footage(index, num_frames=1, generator=seeded("window", index)).frames
        places = (latents == shown.mean).flatten(1).all(1).nonzero().flatten().tolist()
        assert any(np.array_equal(frames[place], hint[0]) for place in places)
    assert hinted_pictures(work, hint="canny")[1].fingerprint() == hints.fingerprint()
    assert hints.fingerprint() != hinted_pictures(work, hint="shape")[1].fingerprint()
