"""Folders of tiny videos and pictures to learn from, a tiny built-in world, and every stage on them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.training import small_world as small
from tests.training.options import changed, given

from animatediff.training.recipe import Recipe
from animatediff.training.stages.stage_options import StageOptions
from animatediff.video import Video
from animatediff.world.stages.image_stages import read_still_latents
from animatediff.world.stages.moving_art import read_clip_latents, read_mirrored_latents
from animatediff.world.stages.table import STAGES

PERSONAL = ("personalise-lora", "personalise-dreambooth")


def texture(seed: int, *, side: int = 48) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 6, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def own_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three short videos with captions, each a texture that slides."""
    folder = tmp_path_factory.mktemp("clips")
    for number in range(3):
        picture = texture(number, side=64)
        frames = np.stack([np.roll(picture, 2 * i, axis=1)[:48] for i in range(12)])
        Video(frames, Fraction(8)).save(folder / f"clip{number}.mp4")
        (folder / f"clip{number}.txt").write_text(f"a fox number {number}")
    return folder


@pytest.fixture(scope="session")
def own_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures without captions."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        Image.fromarray(texture(10 + number)).save(folder / f"my-fox-{number}.png")
    return folder


@pytest.fixture(scope="session")
def setup_of(
    tiny_world: Path, tiny_motion: Path, own_clips: Path, own_pictures: Path
) -> Callable[[str, Path], StageOptions]:
    """What a stage starts from, on the tiny model and the tiny clips."""

    def make(stage: str, work: Path) -> StageOptions:
        personal = stage.startswith("personalise")
        setup = given(
            stage,
            work,
            model=str(tiny_world),
            motion=str(tiny_motion),
            data=own_pictures if personal else own_clips,
            frames=4,
            rank=2,
            caption_from_names=True,
            output=work / ("model" if stage.endswith("dreambooth") else "out.safetensors"),
        )
        if stage == "motion":
            return changed(setup, motion=None)
        if stage == "motion-lora":
            return changed(setup, pattern="zoom-in", variations=2)
        if stage == "personalise-dreambooth":
            return changed(
                setup, class_data=own_pictures, class_caption="a fox", caption="a sks fox"
            )
        if stage == "personalise-inversion":
            return changed(setup, word="<mine>", like="fox", words=2)
        return setup

    return make


@pytest.fixture(scope="session")
def written_world(
    tmp_path_factory: pytest.TempPathFactory, tiny_world: Path, tiny_motion: Path
) -> Path:
    """A small built-in world, its stills and clips encoded; to be copied, not used."""
    work = tmp_path_factory.mktemp("small-world") / "work"
    small.write_small_world(work, model=tiny_world, motion=tiny_motion)
    read_still_latents(work)
    read_clip_latents(work)
    read_mirrored_latents(work)
    return work


@pytest.fixture
def small_setup_of(
    written_world: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Path], StageOptions]:
    """What a stage starts from in a small built-in world of its own, in the folder that is told."""
    for module, name in small.PARTS:
        monkeypatch.setattr(module, name, getattr(module, name))
    small.make_parts_small()

    def make(stage: str, work: Path) -> StageOptions:
        shutil.copytree(written_world, work)
        if stage in ("motion", "motion-longer", "motion-convolution", "sparse-control"):
            return given(stage, work, frames=4)
        if stage == "personalise-inversion":
            return given(stage, work, rank=2, clips=3, frames=4, word="<mine>", like="fox")
        if stage in ("domain-adapter", "motion-lora", *PERSONAL):
            return given(stage, work, rank=2, clips=3, frames=4)
        return given(stage, work)

    return make


@pytest.fixture(scope="session")
def options_of() -> Callable[[str], Recipe]:
    """A few steps of a stage, everything else as its row has it."""

    def make(stage: str) -> Recipe:
        return replace(
            STAGES[stage].recipe,
            steps=3,
            batch_size=2,
            learning_rate=1e-3,
            warmup=1,
            precision="fp32",
            save_every=2,
            log_every=1,
        )

    return make
