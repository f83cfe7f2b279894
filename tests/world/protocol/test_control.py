"""Control is judged by where edges lie, in which order, and by what becomes of a picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("cv2", reason="edges need opencv-python-headless")

from tests.world.protocol.test_protocol import CLIPS, ColourScorer, asked, drawing, sliding

from animatediff.errors import InputError
from animatediff.evaluation.edges import agreement, lines_of
from animatediff.world.protocol.control import judge_control, psnr

FRAMES = 8


def elsewhere(prompt: str, *, seed: int) -> np.ndarray:
    """The right thing at a place of its own, as a model without control draws it."""
    return np.roll(sliding(*asked(prompt), step=3), (9, 5), axis=(1, 2))


def following(prompt: str, *, seed: int, guide: np.ndarray) -> np.ndarray:
    return guide


def backwards(prompt: str, *, seed: int, guide: np.ndarray) -> np.ndarray:
    return guide[::-1]


def judged(draw, *, free=elsewhere, **given):
    return judge_control(
        free, CLIPS[:5], scorer=ColourScorer(), **{"num_frames": FRAMES, "hinted": draw, **given}
    )


def test_a_model_that_follows_its_edges_passes() -> None:
    def far(prompt: str, *, seed: int) -> np.ndarray:
        return np.roll(elsewhere(prompt, seed=seed), 30, axis=1)

    report = judged(following, free=far, pictured=following)
    assert report.hinted is not None
    assert report.hinted.agreement.value == 1
    assert report.hinted.ordered.share == 1
    assert report.hinted.shuffled.value < 0.9
    assert report.hinted.text.value == pytest.approx(1)
    assert report.hinted.real_text.value == pytest.approx(1)
    assert report.pictured is not None
    assert report.pictured.psnr.value == 100
    assert report.pictured.flow.value == pytest.approx(1, abs=0.1)
    assert all(row.met for row in report.rows() if row.target)


def test_a_model_that_ignores_its_hints_and_its_picture_fails() -> None:
    def ignoring(prompt: str, *, seed: int, guide: np.ndarray) -> np.ndarray:
        return elsewhere(prompt, seed=seed)

    report = judged(ignoring, pictured=ignoring)
    assert report.hinted is not None
    assert report.hinted.over_free.value == pytest.approx(1)
    most = {row.name: row.measured for row in report.rows()}[
        "canny: times better, at most (F-score 1)"
    ]
    assert float(most) == pytest.approx(1 / report.hinted.free.value, abs=5e-4)
    missed = [row.name for row in report.rows() if row.met is False]
    assert missed[0] == "canny: times better than without control"
    assert "picture: PSNR of frame 0, dB (median)" in missed


def test_chance_is_agreement_with_another_clip() -> None:
    here = CLIPS[0]
    below = np.roll(here.frames(), 40, axis=1).reshape(here.image.shape)
    clips = (here, replace(CLIPS[1], image=below))
    report = judge_control(
        elsewhere, clips, scorer=ColourScorer(), hinted=following, num_frames=FRAMES
    )
    assert report.hinted is not None
    assert report.hinted.agreement.value == 1
    assert report.hinted.stranger is not None
    assert report.hinted.stranger.value < 0.6
    alone = judge_control(
        elsewhere, clips[:1], scorer=ColourScorer(), hinted=following, num_frames=FRAMES
    )
    assert alone.hinted is not None
    assert alone.hinted.stranger is None
    assert len(alone.rows()) == len(report.rows()) - 1


def test_frames_in_another_order_agree_less() -> None:
    report = judged(backwards, free=drawing(step=0))
    assert report.hinted is not None
    assert report.hinted.agreement.value < 0.9


def test_a_picture_that_stands_still_fails_by_its_flow() -> None:
    def still(prompt: str, *, seed: int, guide: np.ndarray) -> np.ndarray:
        return np.stack([guide[0]] * len(guide))

    report = judged(None, pictured=still)
    assert report.hinted is None
    assert [row.met for row in report.rows() if row.target] == [True, False]


def test_single_frames_have_no_order() -> None:
    def far(prompt: str, *, seed: int) -> np.ndarray:
        return np.roll(elsewhere(prompt, seed=seed)[:1], 30, axis=1)

    report = judged(following, free=far, num_frames=1)
    assert not any("order" in row.name for row in report.rows())
    assert all(row.met for row in report.rows() if row.target)


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="name one"):
        judged(None)


@pytest.mark.parametrize("hint", ["canny", "shape"])
def test_edges_agree_up_to_two_pixels(hint: str) -> None:
    frames = sliding(1, "3d", step=3, count=4)
    lines = lines_of(frames, hint=hint)
    assert agreement(lines, lines) == 1
    assert agreement(lines, np.roll(lines, 2, axis=2)) == 1
    assert agreement(lines, np.roll(lines, 40, axis=1)) < 0.6
    nothing = np.zeros_like(lines)
    assert agreement(nothing, lines) == agreement(lines, nothing) == 0
    assert agreement(nothing, nothing) == 1


def test_psnr_of_bytes() -> None:
    black = np.zeros((4, 4, 3), np.uint8)
    assert psnr(black, black) == 100
    assert psnr(black, black + 255) == pytest.approx(0)
    assert psnr(black, black + 10) == pytest.approx(28.13, abs=0.01)
