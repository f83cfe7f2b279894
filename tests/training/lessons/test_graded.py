"""A MotionLoRA's scale, learned as how far the camera goes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from animatediff.apps import train_preview
from animatediff.apps.train_preview import previewer
from animatediff.data.camera import PATTERNS, opposite
from animatediff.errors import InputError
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.runtime import seeded
from animatediff.training.lessons.clips import ClipBatch, ClipLesson, ReadClips
from animatediff.training.lessons.graded import graded
from animatediff.training.runs.report import CLIPS
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.training_data import Captioned
from animatediff.world.art.clips import WorldClips
from animatediff.world.stages.table import STAGES

SIZE, FRAMES = 32, 8


@pytest.fixture(scope="module")
def clips() -> WorldClips:
    """One clip of a sharp corner that does not move, filmed by a pan."""
    frames = np.full((FRAMES, SIZE, SIZE, 3), 255, np.uint8)
    frames[:, : SIZE // 2, : SIZE // 2] = 0
    meta = {"label": "corner", "tags": [], "style_phrase": "flat style", "motion": "waving"}
    return WorldClips((frames,), (meta,), SIZE, "pan-right:0.8", 0.35, None)


def travel(batch: ClipBatch) -> float:
    """How far the corner's edge goes to the left in the first row, in pixels."""
    assert batch.frames is not None
    dark = (255.0 - batch.frames[0, :, 0].float()).sum(dim=(1, 2)) / (3 * 255)
    return float(dark[0] - dark[-1])


def test_a_batch_is_filmed_as_far_as_its_scale_says(clips: WorldClips) -> None:
    for data in (clips, Captioned(clips, "a corner")):
        read = graded(ReadClips(data, FRAMES, 1), clips.pattern, (0.5, 1.0))
        seen = [read(torch.tensor([0]), seeded("batch", draw)) for draw in range(40)]
        far = {batch.scale: travel(batch) for batch in seen}
        assert set(far) == {0.5, 1.0}
        assert 0.4 < far[0.5] / far[1.0] < 0.6
        assert abs(sum(batch.scale == 1.0 for batch in seen) / len(seen) - 0.5) < 0.25
        again = read(torch.tensor([0]), seeded("batch", 3))
        assert again.scale == seen[3].scale
        assert torch.equal(again.frames, seen[3].frames)  # pyright: ignore[reportArgumentType]
    assert seen[0].captions == ("a corner",)


def test_below_zero_the_camera_goes_the_other_way(clips: WorldClips) -> None:
    read = graded(ReadClips(clips, FRAMES, 1), clips.pattern, (-1.0, 1.0))
    seen = [read(torch.tensor([0]), seeded("batch", draw)) for draw in range(20)]
    far = {batch.scale: travel(batch) for batch in seen}
    assert far[1.0] > 5
    assert far[-1.0] == pytest.approx(-far[1.0], rel=0.1)
    assert all(opposite(opposite(name)) == name != opposite(name) for name in PATTERNS)
    assert opposite("roll-clockwise:0.7") == "roll-anticlockwise:0.7"
    with pytest.raises(InputError, match="no camera pattern"):
        opposite("pan")


def test_scale_one_alone_changes_nothing(clips: WorldClips) -> None:
    read = ReadClips(clips, FRAMES, 1)
    assert graded(read, clips.pattern, (1.0,)) is read


def test_what_cannot_be_graded_is_told(clips: WorldClips) -> None:
    read = ReadClips(clips, FRAMES, 1)
    for scales in ((), (0.0, 1.0), (0.5, 1.5), (-1.5,), (float("nan"),)):
        with pytest.raises(InputError, match="from -1 to 1 and not 0"):
            graded(read, clips.pattern, scales)
    with pytest.raises(InputError, match="add --pattern"):
        graded(read, None, (0.5, 1.0))


@dataclass
class Denoiser:
    """A layer with branches; it notes the scale at which it is asked."""

    layer: nn.Linear
    learns: LowRankSet
    scales: list[float] = field(default_factory=list[float])

    def __call__(self, noisy: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
        """As noisy as it came."""
        self.scales.append(self.learns.scale)
        return self.layer(noisy)


def test_the_branches_learn_at_the_scale_of_their_batch(clips: WorldClips) -> None:
    layer = nn.Linear(4, 4)
    denoiser = Denoiser(layer, LowRankSet({"layer": layer}, rank=2))
    fetch = graded(ReadClips(clips, FRAMES, 1), clips.pattern, (0.5, 1.0))
    encoded: list[float] = []

    def encode(pictures: Tensor, generator: torch.Generator) -> Tensor:
        encoded.append(float(pictures.mean()))
        return pictures[:, :, :4, :4]

    lesson = ClipLesson(
        denoiser.learns,
        denoiser,
        lambda captions: torch.zeros(len(captions), 2, 4),
        encode,
        fetch,
        torch.linspace(0.9, 0.1, 10),
    )
    batches = [fetch(torch.tensor([0]), seeded("batch", draw)) for draw in range(12)]
    for batch in batches:
        lesson.losses(batch, seeded("noise"))
    assert denoiser.scales == [batch.scale for batch in batches]
    assert len(encoded) == 2  # each scale's clip is encoded once


def test_validation_clips_show_all_of_it_whatever_was_learned_last(
    setup_of: Callable[[str, Path], StageOptions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train_preview, "STEPS", 2)
    stage = STAGES["motion-lora"]
    prepared = stage.prepare(setup_of("motion-lora", tmp_path), stage.recipe, torch.device("cpu"))
    learns = prepared.lesson.learns
    assert isinstance(learns, LowRankSet)
    drawn = torch.Generator().manual_seed(0)
    weights = {
        name: torch.randn(weight.shape, generator=drawn)
        for name, weight in learns.named_parameters()
    }
    draw = previewer(prepared, tmp_path, ["a fox"])
    assert draw is not None
    for step, scale in enumerate((1.0, 0.5)):
        learns.scale = scale
        draw(step, weights, lambda: False)
    whole, after_half = sorted((tmp_path / CLIPS).iterdir())
    assert whole.read_bytes() == after_half.read_bytes()
