"""One's own clips in training: any layout, or what was built of them, gives the same batches."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import tarfile
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tests.training.options import changed, given
from torch import Tensor

from animatediff.apps.encoding import encode_frames, load_encoder
from animatediff.data.builds.samples import BuildOptions
from animatediff.data.builds.write import build_shards
from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Media
from animatediff.data.layouts.detect import list_clips
from animatediff.errors import FileError, InputError, Interrupted
from animatediff.training.lessons.clips import ClipBatch, ClipLesson
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.stages.job import Job
from animatediff.training.stages.own_data import encoder_name, encoders_of
from animatediff.training.stages.stage_options import StageOptions
from animatediff.world.stages.table import STAGES

CPU = torch.device("cpu")
SetupOf = Callable[[str, Path], StageOptions]
OptionsOf = Callable[[str], Recipe]
BUILD = BuildOptions(size=(32, 32), fps=Fraction(8), frames=4)


@pytest.fixture
def setup(setup_of: SetupOf, tmp_path: Path) -> StageOptions:
    return setup_of("motion", tmp_path / "work")


@pytest.fixture
def options(options_of: OptionsOf) -> Recipe:
    return options_of("motion")


def build(data: Path, folder: Path, model: str | None, options: BuildOptions = BUILD) -> Path:
    encoder = None
    if model is not None:
        encoder, _ = load_encoder(model, size=options.size, device="cpu", threads=None)
    build_shards(list_clips(data), folder, options, encoder=encoder)
    return folder


@pytest.fixture(scope="module")
def built(own_clips: Path, tiny_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(own_clips, tmp_path_factory.mktemp("built") / "shards", str(tiny_world))


def prepared(setup: StageOptions, options: Recipe, stage: str = "motion") -> Job:
    return STAGES[stage].prepare(setup, options, CPU)


def lesson_of(setup: StageOptions, options: Recipe, stage: str = "motion") -> ClipLesson:
    lesson = prepared(setup, options, stage).lesson
    assert isinstance(lesson, ClipLesson)
    return lesson


def batch_of(lesson: ClipLesson, *, seed: int = 0) -> ClipBatch:
    return lesson.fetch(torch.tensor([2, 0, 1]), torch.Generator().manual_seed(seed))


# --- layouts --------------------------------------------------------------------------------------


def _names(clips: Path) -> list[str]:
    return sorted(path.stem for path in clips.glob("*.mp4"))


def _caption(clips: Path, name: str) -> str:
    return (clips / f"{name}.txt").read_text()


def as_webvid(clips: Path, folder: Path) -> None:
    rows = [f"{name},{_caption(clips, name)},somewhere" for name in _names(clips)]
    (folder / "results.csv").write_text("\n".join(["videoid,name,page_dir", *rows]) + "\n")
    (folder / "videos").mkdir()
    for name in _names(clips):
        shutil.copy(clips / f"{name}.mp4", folder / "videos")


def as_metadata(clips: Path, folder: Path) -> None:
    rows = [{"file_name": f"{n}.mp4", "text": _caption(clips, n)} for n in _names(clips)]
    # Not in the order of the names: what clip i is does not depend on it.
    lines = [json.dumps(row) + "\n" for row in reversed(rows)]
    (folder / "metadata.jsonl").write_text("".join(lines))
    for name in _names(clips):
        shutil.copy(clips / f"{name}.mp4", folder)


def as_jsonl(clips: Path, folder: Path) -> None:
    rows = [
        {"video_path": str(clips / f"{n}.mp4"), "caption": _caption(clips, n)}
        for n in _names(clips)
    ]
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def as_webdataset(clips: Path, folder: Path) -> None:
    with tarfile.open(folder / "00000.tar", "w") as tar:
        for name in _names(clips):
            for suffix in ("mp4", "txt"):
                content = (clips / f"{name}.{suffix}").read_bytes()
                member = tarfile.TarInfo(f"{name}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def as_frames(clips: Path, folder: Path) -> None:
    for name in _names(clips):
        (folder / name).mkdir()
        for number, frame in enumerate(decode(Media(clips / f"{name}.mp4")).frames):
            Image.fromarray(frame).save(folder / name / f"{number:04d}.png")
        (folder / name / "caption.txt").write_text(_caption(clips, name))


@pytest.mark.parametrize("kept", [as_webvid, as_metadata, as_jsonl, as_webdataset, as_frames])
def test_the_same_clips_in_any_layout_give_the_same_batch(
    kept: Callable[[Path, Path], None],
    setup: StageOptions,
    options: Recipe,
    own_clips: Path,
    tmp_path: Path,
) -> None:
    setup = changed(setup, size=48)  # the clips' own: frames that were kept are not scaled either
    plain = batch_of(lesson_of(setup, options))
    folder = tmp_path / "kept"
    folder.mkdir()
    kept(own_clips, folder)
    batch = batch_of(lesson_of(changed(setup, data=folder), options))
    assert batch.captions == plain.captions == tuple(f"a fox number {n}" for n in (2, 0, 1))
    assert batch.draws == plain.draws
    assert batch.frames is not None
    assert plain.frames is not None
    assert torch.equal(batch.frames, plain.frames)


def test_a_layout_that_there_is_not_is_named(setup: StageOptions, options: Recipe) -> None:
    with pytest.raises(InputError, match="no layout 'webvidd'; choose auto or one of folder"):
        prepared(changed(setup, layout="webvidd"), options)


# --- what was built -------------------------------------------------------------------------------


def test_what_was_built_gives_the_batches_of_its_source(
    setup: StageOptions, options: Recipe, built: Path
) -> None:
    source, encoded = (lesson_of(s, options) for s in (setup, changed(setup, data=built)))
    base = prepared(setup, options).frozen
    assert base is not None
    starts = set[bytes]()
    for seed in range(6):
        of_source, of_build = batch_of(source, seed=seed), batch_of(encoded, seed=seed)
        assert (of_build.captions, of_build.draws) == (of_source.captions, of_source.draws)
        assert of_build.frames is None
        assert of_source.frames is not None
        for clip, frames in zip(of_build.encoded, of_source.frames, strict=True):
            wanted = encode_frames(frames.numpy(), base=base.base)
            # Kept in half precision, and the same windows to the frame.
            assert torch.allclose(clip.mean.float(), wanted["latents"].float(), atol=2e-3)
            assert torch.allclose(clip.spread.float(), wanted["spread"].float(), atol=2e-3)
            starts.add(clip.mean.numpy().tobytes())
        losses = [
            float(lesson.losses(batch, torch.Generator().manual_seed(seed))["loss"].detach())
            for lesson, batch in ((source, of_source), (encoded, of_build))
        ]
        assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert len(starts) > 9  # windows do differ


def test_nothing_is_decoded_or_encoded_of_what_was_built(
    setup: StageOptions, options: Recipe, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lesson = lesson_of(changed(setup, data=built, null_text=0.0), options)

    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError

    monkeypatch.setattr("animatediff.data.decoding.confined.Decoder._start", refused)
    lesson.encode = lesson.embed = refused
    assert torch.isfinite(lesson.losses(batch_of(lesson), torch.Generator())["loss"])


def test_captions_that_are_dropped_or_replaced_are_encoded_now(
    setup: StageOptions, options: Recipe, built: Path
) -> None:
    asked: list[list[str]] = []

    def losses(**changes: Any) -> float:
        lesson = lesson_of(changed(setup, data=built, **changes), options)
        embed = lesson.embed

        def listening(captions: list[str]) -> Tensor:
            asked.append(captions)
            return embed(captions)

        lesson.embed = listening
        loss = lesson.losses(batch_of(lesson), torch.Generator().manual_seed(1))["loss"]
        return float(loss.detach())

    losses(null_text=1.0)
    assert asked == [["", "", ""]]
    losses(caption="a photo", null_text=0.0)
    assert asked[1:] == [["a photo"] * 3]
    some = losses(null_text=0.5)
    assert asked[2] in ([""], ["", ""])
    assert some != losses(null_text=0.0)


def test_what_was_built_for_something_else_is_refused_in_one_sentence(
    setup: StageOptions,
    options: Recipe,
    built: Path,
    tiny_world: Path,
    tiny_motion: Path,
    tmp_path: Path,
) -> None:
    models = {}
    for part in ("vae", "text_encoder"):
        model = shutil.copytree(tiny_world, tmp_path / part)
        (path,) = (model / part).glob("*.safetensors")
        weights = load_file(path)
        save_file({k: v + 1e-3 for k, v in weights.items()}, path, metadata={"format": "pt"})
        models[part] = str(model)
    ask = changed(setup, data=built)
    for asked, words in (
        (changed(ask, model=models["vae"]), "another autoencoder than this model's"),
        (changed(ask, model=models["text_encoder"]), "another text encoder than this model's"),
        (changed(ask, size=64), "of 32x32, not 64x64; give --size 32"),
        (changed(ask, fps=12.0), "8 frames a second, not 12; give --fps 8"),
        (changed(ask, frames=5), "of 4 frames and more, and 5 are learned"),
        (changed(ask, clips=9), "There are 3 clips to learn from, too few for 9"),
    ):
        with pytest.raises(InputError, match=words) as refused:
            prepared(asked, options)
        assert str(refused.value).count(". ") == 0
    values = {**ask.values, "motion": str(tiny_motion), "pattern": "zoom-in"}
    filmed = given("motion-lora", ask.work, **values)
    with pytest.raises(InputError, match="--pattern films them anew"):
        prepared(filmed, options, "motion-lora")


def test_a_model_in_one_file_is_told_by_that_file(tmp_path: Path) -> None:
    whole, other = tmp_path / "model.safetensors", tmp_path / "other.safetensors"
    whole.write_bytes(b"one")
    other.write_bytes(b"another")
    seals = encoders_of({"model": whole})
    assert seals.keys() == {"vae", "text_encoder"}
    assert encoders_of({"model": whole, "vae": other}) != seals
    name = encoder_name("a, b", {"model": whole})
    assert all(f", {part} {seal}" in name for part, seal in seals.items())


def test_shorter_windows_and_single_frames_are_taken_from_what_was_built(
    setup: StageOptions, options: Recipe, built: Path
) -> None:
    shorter = batch_of(lesson_of(changed(setup, data=built, frames=2), options))
    assert {clip.mean.shape[0] for clip in shorter.encoded} == {2}
    lesson = lesson_of(changed(setup, data=built, fps=30.0), options, "domain-adapter")
    assert {clip.mean.shape[0] for clip in batch_of(lesson).encoded} == {1}


def test_frames_that_were_built_without_a_model_are_a_data_set(
    setup: StageOptions, options: Recipe, own_clips: Path, tmp_path: Path
) -> None:
    shards = build(own_clips, tmp_path / "frames", None)
    batch = batch_of(lesson_of(changed(setup, data=shards), options))
    plain = batch_of(lesson_of(setup, options))
    assert sorted(batch.captions) == sorted(plain.captions)
    assert batch.frames is not None


def test_a_shard_that_is_damaged_is_one_sentence(
    setup: StageOptions, options: Recipe, built: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(built, tmp_path / "copy")
    lesson = lesson_of(changed(setup, data=copy), options)
    (shard,) = copy.glob("*.tar")
    whole = shard.read_bytes()
    shard.write_bytes(b"\xff" * len(whole))
    with pytest.raises(FileError, match=r"broken at .*; delete it and build again"):
        batch_of(lesson)
    shard.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match="delete it and build again"):
        batch_of(lesson)
    with pytest.raises(FileError, match="delete it and build again"):
        prepared(changed(setup, data=copy), options)


# --- going on -------------------------------------------------------------------------------------


def interrupted(prepared: Job, options: Recipe, folder: Path, *, after: int) -> None:
    """Train until the system asks for an end in the middle of step ``after``."""
    lesson, calls = prepared.lesson, 0
    losses = lesson.losses

    def stopping(batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return losses(batch, generator)

    lesson.losses = stopping  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        train(lesson, options, folder, facts=prepared.facts)


def learned(setup: StageOptions, options: Recipe, folder: Path) -> dict[str, Tensor]:
    ready = prepared(setup, options)
    return train(ready.lesson, options, folder, facts=ready.facts)


def test_a_run_on_what_was_built_goes_on_exactly(
    setup: StageOptions, options: Recipe, built: Path, tmp_path: Path
) -> None:
    setup, options = changed(setup, data=built), replace(options, steps=4)
    whole = learned(setup, options, tmp_path / "whole")
    interrupted(prepared(setup, options), options, tmp_path / "parts", after=3)
    parts = learned(setup, options, tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.fixture
def with_a_bad_one(own_clips: Path, tmp_path: Path) -> Path:
    """Twelve clips, the fourth of which is cut short."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(12):
        shutil.copy(own_clips / f"clip{number % 3}.mp4", folder / f"{number:02d}.mp4")
    whole = (folder / "03.mp4").read_bytes()
    (folder / "03.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def test_a_run_goes_on_exactly_with_the_clips_that_were_set_aside_when_it_began(
    setup: StageOptions,
    options: Recipe,
    with_a_bad_one: Path,
    own_clips: Path,
    tmp_path: Path,
) -> None:
    setup, options = changed(setup, data=with_a_bad_one), replace(options, steps=4)
    ready = prepared(setup, options)
    assert ready.lesson.size == 11
    assert ready.facts["set_aside"].startswith("03 (")
    whole = train(ready.lesson, options, tmp_path / "whole", facts=ready.facts)
    interrupted(prepared(setup, options), options, tmp_path / "parts", after=2)
    parts = learned(setup, options, tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    shutil.copy(own_clips / "clip0.mp4", with_a_bad_one / "03.mp4")
    with pytest.raises(InputError, match=r"set_aside 03 .* -> none"):
        learned(setup, options, tmp_path / "parts")


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_clip_that_fails_in_the_middle_of_a_run_stops_it_and_is_waited_for(
    workers: int, setup: StageOptions, options: Recipe, own_clips: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(own_clips, tmp_path / "clips")
    setup = changed(setup, data=folder)
    options = replace(options, steps=6, save_every=1)
    whole = learned(setup, options, tmp_path / "whole")
    ready = prepared(setup, options)
    losses, calls = ready.lesson.losses, 0
    away = tmp_path / "away.mp4"

    def losing(batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        nonlocal calls
        calls += 1
        if calls == 1:
            (folder / "clip1.mp4").rename(away)
        return losses(batch, generator)

    ready.lesson.losses = losing  # type: ignore[method-assign]
    asked = replace(options, num_workers=workers)
    with pytest.raises(FileError, match=r"clip1\.mp4 .*put it back .* to resume") as told:
        train(ready.lesson, asked, tmp_path / "parts", facts=ready.facts)
    assert "\n" not in str(told.value)
    assert list((tmp_path / "parts").glob("step-0000000[1-5]"))
    away.rename(folder / "clip1.mp4")
    parts = learned(setup, options, tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


@pytest.mark.slow
def test_reading_what_was_built_ahead_changes_nothing(
    setup: StageOptions, options: Recipe, built: Path, tmp_path: Path
) -> None:
    setup = changed(setup, data=built)
    alone = learned(setup, options, tmp_path / "alone")
    ahead = learned(setup, replace(options, num_workers=2), tmp_path / "ahead")
    assert all(torch.equal(alone[name], ahead[name]) for name in alone)
    assert np.isfinite([float(value.norm()) for value in alone.values()]).all()


@pytest.mark.parametrize("header", ["file_name, text", "file_name,text"])
def test_a_blank_in_the_head_of_a_table_does_not_hide_its_captions(
    header: str, setup: StageOptions, options: Recipe, own_clips: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(own_clips, tmp_path / "table", ignore=shutil.ignore_patterns("*.txt"))
    lines = [header, *(f"{p.name},a hare {i}" for i, p in enumerate(sorted(folder.glob("*.mp4"))))]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    asked = changed(setup, data=folder, caption_from_names=False, null_text=0.0)
    captions = batch_of(lesson_of(asked, options)).captions
    assert all(caption.startswith("a hare") for caption in captions)


def test_clips_without_captions_stop_training_unless_their_names_are_wanted(
    setup: StageOptions, options: Recipe, own_clips: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(own_clips, tmp_path / "table", ignore=shutil.ignore_patterns("*.txt"))
    lines = ["file_name,txt", *(f"{p.name},a hare" for p in sorted(folder.glob("*.mp4")))]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n")
    asked = changed(setup, data=folder, caption_from_names=False)
    with pytest.raises(InputError, match=r"3 of 3 clips .* have no caption.*--caption-from-names"):
        prepared(asked, options)
    batch = batch_of(lesson_of(changed(asked, caption_from_names=True), options))
    assert set(batch.captions) <= {"clip0", "clip1", "clip2"}
    prepared(changed(asked, caption="a hare"), options)
