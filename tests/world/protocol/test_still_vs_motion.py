"""Animations beside stills: boiling loses, and a still held for all frames does not pass."""

from __future__ import annotations

import numpy as np
import pytest
from tests.world.protocol.test_protocol import CLIPS, ColourScorer, asked, drawing, sliding, square

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from animatediff.data.shards import Sample
from animatediff.world.protocol.still_vs_motion import StillVsMotionReport, judge_still_vs_motion


def still(prompt: str, *, seed: int) -> np.ndarray:
    return square(*asked(prompt))[None]


def boiling(prompt: str, *, seed: int) -> np.ndarray:
    frames = sliding(*asked(prompt), step=3)
    noise = np.random.default_rng(seed).integers(-60, 60, frames.shape)
    return np.where(frames < 255, np.clip(frames + noise, 0, 230), frames).astype(np.uint8)


def missed(report: StillVsMotionReport) -> set[str]:
    return {row.name for row in report.rows() if row.met is False}


def judged(moving, **asked_for) -> StillVsMotionReport:
    return judge_still_vs_motion(
        still, moving, CLIPS[:5], scorer=ColourScorer(), num_frames=8, **asked_for
    )


def test_what_moves_as_the_clips_do_and_stays_what_it_is_passes() -> None:
    report = judged(drawing(step=3))
    assert not missed(report)
    assert report.moving.concept_to_stills.value == 1
    assert report.moving.flow_to_real.value == pytest.approx(1)
    assert report.moving.warp_to_real.value == pytest.approx(1)


def test_a_frozen_video_keeps_every_likeness_and_still_fails() -> None:
    report = judged(drawing(step=0))
    assert report.moving.concept_to_stills.value == 1
    assert {"frozen", "foreground flow over the real clips'"} <= missed(report)
    assert report.held.frozen.share == 1
    assert report.held.smooth.value == pytest.approx(100)


def test_boiling_shows_in_the_warp_error() -> None:
    report = judged(boiling)
    assert report.moving.warp_to_real.value > 1.5
    assert "warp error over the real clips'" in missed(report)


def test_a_personalised_model_is_set_beside_its_base() -> None:
    styled = ("noto by LoRA", "noto", "noto style", drawing(step=6))
    report = judged(drawing(step=3), styled=styled, num_styled=4)
    assert report.styled is not None
    assert len(report.styled.animations) == 4
    assert report.styled.flow_to_base.value == pytest.approx(2, rel=0.3)
    assert {a.subject.style for a in report.styled.animations} == {"noto"}
    assert "noto by LoRA: flow over the base's" in missed(report)


def test_motion_of_another_prompt_is_as_smooth_but_not_as_like_the_real_clip() -> None:
    """Clips go right or down; each still is carried the other's way."""

    def down(prompt: str, *, seed: int) -> np.ndarray:
        number, style = asked(prompt)
        frames = sliding(number, style, step=3)
        return frames if number % 2 else frames.transpose(0, 2, 1, 3)

    clips = tuple(turned(clip, down(str(clip.meta["caption"]), seed=0)) for clip in CLIPS[:4])
    report = judge_still_vs_motion(
        lambda prompt, *, seed: down(prompt, seed=seed)[:1],
        down,
        clips,
        scorer=ColourScorer(),
        as_drawn=down,
        num_frames=8,
    )
    assert report.own_motion is not None
    assert report.others is not None
    assert report.own_motion.own.value == pytest.approx(1)
    assert report.own_motion.others.value < 0.5
    assert report.own_motion.gain.difference.low > 0.3
    assert report.others.concept_to_stills.value == 1
    assert {"carried along another's motion: smooth score"} <= {r.name for r in report.rows()}


def test_without_what_was_drawn_there_is_no_such_control() -> None:
    report = judged(drawing(step=3))
    assert report.others is None
    assert report.own_motion is None


def turned(clip: Sample, frames: np.ndarray) -> Sample:
    alpha = np.full_like(frames[..., :1], 255)
    return Sample(clip.key, clip.meta, np.concatenate([frames, alpha], -1).reshape(-1, 128, 4))
