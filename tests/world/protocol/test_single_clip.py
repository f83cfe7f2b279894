"""A MotionLoRA of one clip is judged by what happens and when, whatever is drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")

from tests.world.protocol.test_protocol import clip

from animatediff.data.camera import Crop, cropped
from animatediff.errors import InputError
from animatediff.evaluation.motion_profile import likeness, motion_profile, reach
from animatediff.world.protocol.single_clip import Learned, judge_single_clips
from animatediff.world.protocol.subjects import Subject

SUBJECTS = [Subject.of(clip(number), seed=0) for number in range(4)]
BEAT = np.array([0, 0, -2, -4, -4, 2, 5, 2, 0, 0])
"""How large a thing is at each time, in hundredths of its logarithm, about."""
HOP = np.array([0, 2, 4, 2, 0, 0, 0, 2, 4, 2])


def playing(size: np.ndarray = BEAT * 0, height: np.ndarray = BEAT * 0, *, share: float = 1.0):
    """Another picture for each seed that grows and jumps by the same score."""
    crops = [
        Crop(float(0.8 * np.exp(-0.02 * share * s)), down=float(0.02 * share * h))
        for s, h in zip(size, height, strict=True)
    ]

    def draw(prompt: str, *, seed: int) -> np.ndarray:
        coarse = np.random.default_rng(seed % 1000).integers(0, 255, (16, 16, 3)).astype(np.uint8)
        picture = np.asarray(Image.fromarray(coarse).resize((160, 160), Image.Resampling.BICUBIC))
        return cropped(np.stack([picture] * len(crops)), crops, size=128)

    return draw


def test_courses_are_alike_whatever_is_drawn_and_tell_how_far() -> None:
    beat, small = playing(BEAT), playing(BEAT, share=0.5)
    asked = motion_profile(beat("", seed=1))
    assert likeness(motion_profile(beat("", seed=2)), asked) > 0.95
    assert likeness(motion_profile(small("", seed=3)), asked) > 0.95
    assert reach(motion_profile(small("", seed=3)), of=asked) == pytest.approx(0.5, abs=0.1)
    assert likeness(motion_profile(playing(-BEAT)("", seed=2)), asked) < -0.9
    assert abs(likeness(motion_profile(playing(height=HOP)("", seed=2)), asked)) < 0.5


def test_what_stands_still_is_like_nothing() -> None:
    still = motion_profile(playing()("", seed=1))
    assert likeness(still, motion_profile(playing(BEAT)("", seed=1))) == pytest.approx(0, abs=0.3)
    assert likeness(np.zeros((9, 4)), np.ones((9, 4))) == 0
    assert reach(np.ones((9, 4)), of=np.zeros((9, 4))) == 0
    assert motion_profile(playing(BEAT)("", seed=1)[:1]).shape == (0, 4)


def test_one_that_learned_its_clip_is_told_from_one_that_did_not() -> None:
    learned = playing(BEAT)("", seed=999)
    motions = {
        "beat": Learned(playing(BEAT), learned),
        "half": Learned(playing(BEAT, share=0.5), learned),
        "backwards": Learned(playing(-BEAT), learned),
    }
    report = judge_single_clips(playing(height=HOP), motions, SUBJECTS)
    beat, half, backwards = report.motions.values()
    assert beat.nearer.share == half.nearer.share == 1
    assert beat.likeness.value > 0.95
    assert beat.likeness.value > beat.base_likeness.value
    assert beat.reach.value == pytest.approx(1, abs=0.1)
    assert half.reach.value == pytest.approx(0.5, abs=0.1)
    assert backwards.nearer.share == 0
    assert [row.met for row in report.rows() if row.target] == [True, True, False]


def test_nothing_to_judge_is_refused() -> None:
    with pytest.raises(InputError, match="there must be one of each"):
        judge_single_clips(playing(), {}, SUBJECTS)
