"""MotionLoRAs judged by a model that films a still with the very move, or with another one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from tests.world.protocol.test_protocol import clip

from animatediff.data.camera import PATTERNS, CameraMove, Crop, cropped, filmed
from animatediff.errors import InputError
from animatediff.world.protocol.motion_lora import Move, Together, judge_motion_loras
from animatediff.world.protocol.subjects import Subject

SUBJECTS = [Subject.of(clip(number), seed=0) for number in range(2)]
AMOUNT = {"zoom": 1.5, "pan": 0.2, "tilt": 0.2, "roll": 0.6}
NUM_FRAMES = 8


def still(seed: int) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC))
    return np.stack([picture] * NUM_FRAMES)


def filming(pattern: str, *, share: float = 1.0):
    """A camera that makes this share of the move's amount."""
    amount = AMOUNT[pattern.partition("-")[0]]
    amount = amount**share if pattern.startswith("zoom") else amount * share

    def draw(prompt: str, *, seed: int) -> np.ndarray:
        return filmed(still(seed % 1000), CameraMove(pattern, amount), size=128)

    return draw


def standing(prompt: str, *, seed: int) -> np.ndarray:
    return still(seed % 1000)


def learned(pattern: str) -> list[np.ndarray]:
    return [filming(pattern)("", seed=seed) for seed in range(2)]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_move_is_known_by_its_sign_its_size_and_its_half(pattern):
    move = Move(pattern, filming(pattern), filming(pattern, share=0.5), learned(pattern)[:1])
    report = judge_motion_loras(standing, {pattern: move}, SUBJECTS[:1])
    marks = report.moves[pattern]
    assert marks.asked_way.share == 1
    assert marks.size == pytest.approx(1, rel=0.1)
    assert marks.halved.value == pytest.approx(0.5, abs=0.1)
    assert marks.base_asked_way.share == 0
    assert all(row.met for row in report.rows() if row.target)


def test_what_the_model_does_anyway_is_no_effect():
    """From 0.3 to 0.65 of the move is half of the way from 0.3 to all of it."""
    pattern = "pan-right"
    move = Move(pattern, filming(pattern), filming(pattern, share=0.65), learned(pattern))
    report = judge_motion_loras(filming(pattern, share=0.3), {pattern: move}, SUBJECTS)
    assert report.moves[pattern].halved.value == pytest.approx(0.5, abs=0.05)


def test_the_opposite_move_and_a_much_weaker_one_fail():
    clips = learned("zoom-in")
    report = judge_motion_loras(
        standing,
        {
            "wrong": Move("zoom-in", filming("zoom-out"), None, clips),
            "weak": Move("zoom-in", filming("zoom-in", share=0.25), None, clips),
        },
        SUBJECTS,
    )
    assert report.moves["wrong"].asked_way.share == 0
    assert [row.met for row in report.rows() if row.target] == [False, False, True, False]


def test_two_at_once_must_show_both():
    def both(prompt: str, *, seed: int) -> np.ndarray:
        crops = [Crop(0.8 * 1.03**-i, right=-0.1 + 0.03 * i) for i in range(NUM_FRAMES)]
        return cropped(still(seed % 1000), crops, size=128)

    patterns = ("zoom-in", "pan-right")
    moves = {"zoom-in": Move("zoom-in", filming("zoom-in"), None, learned("zoom-in"))}
    report = judge_motion_loras(
        standing,
        moves,
        SUBJECTS,
        together={
            "sum": Together(patterns, both),
            "only one": Together(("zoom-in", "pan-left"), both),
        },
    )
    assert report.together["sum"].both.share == 1
    assert report.together["only one"].both.share == 0
    assert [row.met for row in report.rows()][-2:] == [True, False]


def test_what_cannot_be_judged_is_said():
    with pytest.raises(InputError, match="dolly"):
        Move("dolly", standing)
    with pytest.raises(InputError, match="learned from are not here"):
        judge_motion_loras(standing, {"a": Move("zoom-in", standing)}, SUBJECTS)
    with pytest.raises(InputError, match="one of each"):
        judge_motion_loras(standing, {}, SUBJECTS)


def test_a_scorer_adds_the_quality_of_the_frames():
    move = Move("pan-right", filming("pan-right"), None, learned("pan-right"))

    class Sees:
        def judge(self, frames):
            return SimpleNamespace(
                embeddings=torch.ones(len(frames), 2),
                shows=lambda concept: torch.arange(len(frames)) < concept,
            )

        def embed_text(self, texts):
            return torch.ones(len(texts), 2)

        def index_of(self, hexcode):
            return NUM_FRAMES // 2

    report = judge_motion_loras(standing, {"a": move}, SUBJECTS, scorer=Sees())
    assert report.moves["a"].recognised.share == 0.5
    assert report.moves["a"].text.value == pytest.approx(100)
    assert any("concept recognised" in row.name for row in report.rows())
