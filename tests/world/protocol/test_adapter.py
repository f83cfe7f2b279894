"""The adapter's curve, with a model that paints the mark as strongly as the adapter's scale says."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from tests.world.protocol.test_protocol import ColourScorer, clip, sliding

from animatediff.errors import InputError
from animatediff.world.art.degraded import Degradation
from animatediff.world.protocol.adapter import judge_adapter, learned_detector
from animatediff.world.protocol.subjects import Subject

CLIPS = [clip(number) for number in range(12)]
SUBJECTS = [Subject.of(sample, seed=0) for sample in CLIPS[:3]]


def painted(share: float, *, seed: int) -> np.ndarray:
    """Frames of which the first ``share`` carry the mark."""
    frames = sliding(seed % 12, "3d", step=3)
    clean, marked = Degradation(marked=False)(frames), Degradation()(frames)
    count = round(share * len(frames))
    return np.concatenate([marked[:count], clean[count:]])


@pytest.fixture(scope="module")
def detector():
    return learned_detector(CLIPS, seen=lambda frames: frames)


def test_an_adapter_that_carries_the_mark_passes(detector):
    report = judge_adapter(
        lambda prompt, *, seed, alpha: painted(alpha, seed=seed),
        SUBJECTS,
        detector=detector,
        alphas=(0, 0.5, 1.0),
        unadapted=lambda prompt, *, seed: painted(1, seed=seed),
    )
    assert [marks.marked.share for marks in report.by_alpha.values()] == [1, 0.5, 0]
    assert list(report.by_alpha) == [1.0, 0.5, 0]
    assert report.falls
    assert all(row.met for row in report.rows() if row.target)
    assert report.by_alpha[1.0].flow.value > 0


def test_a_mark_that_the_motion_keeps_fails(detector):
    report = judge_adapter(
        lambda prompt, *, seed, alpha: painted(1, seed=seed),
        SUBJECTS,
        detector=detector,
        unadapted=lambda prompt, *, seed: painted(1, seed=seed),
    )
    assert len(report.by_alpha) == 5
    assert [row.met for row in report.rows() if row.target] == [True, False, False, False]


def test_a_curve_that_rises_between_is_told(detector):
    shares = {1.0: 1.0, 0.5: 0.25, 0.25: 0.5, 0.0: 0.0}
    report = judge_adapter(
        lambda prompt, *, seed, alpha: painted(shares[alpha], seed=seed),
        SUBJECTS,
        detector=detector,
        alphas=tuple(shares),
    )
    assert not report.falls


def test_what_is_missing_is_said(detector):
    with pytest.raises(InputError, match="at least two scales"):
        judge_adapter(
            lambda prompt, *, seed, alpha: painted(1, seed=seed),
            SUBJECTS,
            detector=detector,
            alphas=(1.0, 1.0),
        )
    with pytest.raises(InputError, match="there are none"):
        learned_detector([], seen=lambda frames: frames)


def test_a_scorer_adds_the_quality_of_the_frames(detector):
    report = judge_adapter(
        lambda prompt, *, seed, alpha: sliding(int(prompt.split(",")[0].split()[1]), "3d", step=3),
        SUBJECTS,
        detector=detector,
        scorer=ColourScorer(),
    )
    for marks in report.by_alpha.values():
        assert marks.recognised.share == 1
        assert marks.text.value == pytest.approx(100)
    assert any("text score" in row.name for row in report.rows())
