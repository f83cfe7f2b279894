"""Folders of tiny videos and pictures to learn from, and every stage on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animatediff.training.setup import Setup
from animatediff.training.stages import STAGES
from animatediff.training.trainer import TrainOptions
from animatediff.video import Video


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
) -> Callable[[str, Path], Setup]:
    """What a stage starts from, on the tiny model and the tiny clips."""

    def make(stage: str, work: Path) -> Setup:
        personal = stage.startswith("personalise")
        setup = Setup(
            work,
            model=str(tiny_world),
            motion=str(tiny_motion),
            data=own_pictures if personal else own_clips,
            num_frames=4,
            rank=2,
            output=work / ("model" if stage.endswith("dreambooth") else "out.safetensors"),
        )
        if stage == "motion-lora":
            return replace(setup, pattern="zoom-in", variations=2)
        if stage == "personalise-dreambooth":
            return replace(
                setup, class_data=own_pictures, class_caption="a fox", caption="a sks fox"
            )
        if stage == "personalise-inversion":
            return replace(setup, word="<mine>", like="fox", words=2)
        return setup

    return make


@pytest.fixture(scope="session")
def options_of() -> Callable[[str], TrainOptions]:
    """A few steps of a stage, everything else as its row has it."""

    def make(stage: str) -> TrainOptions:
        return replace(
            STAGES[stage].options,
            steps=3,
            batch_size=2,
            learning_rate=1e-3,
            warmup=1,
            precision="fp32",
            save_every=2,
            log_every=1,
        )

    return make
