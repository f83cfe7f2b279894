"""The camera's motion is read back from clips that were filmed with a known one."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.data.camera import PATTERNS, CameraMove, Crop, cropped, filmed
from animatediff.evaluation.camera import (
    SIGNS,
    CameraMotion,
    Similarity,
    camera_motion,
    similarity_of,
)

SECONDS = 11 / 8


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    """A still picture full of texture, twelve times."""
    coarse = np.random.default_rng(3).integers(0, 255, (24, 24, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((192, 192), Image.Resampling.BICUBIC))
    return np.stack([picture] * 12)


def test_every_pattern_of_the_rules_has_a_sign() -> None:
    assert SIGNS.keys() == set(PATTERNS)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_pattern_shows_its_own_rate_and_hardly_any_other(
    pattern: str, scene: np.ndarray
) -> None:
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    move = CameraMove.drawn(pattern, torch.Generator().manual_seed(1))
    found = camera_motion(filmed(scene, move, size=128))
    kind = pattern.partition("-")[0]
    total = {"zoom": math.log(move.amount), "roll": math.degrees(move.amount)}
    expected = total.get(kind, 2 * move.amount) / SECONDS
    assert found.along(pattern) == pytest.approx(expected, rel=0.1)
    # As shares of a strong motion of each kind.
    others = {"zoom": 0.5, "pan": 0.4, "tilt": 0.4, "roll": 40.0}
    del others[kind]
    for name, strong in others.items():
        assert abs(getattr(found, name)) < 0.05 * strong


def test_two_moves_at_once_show_both(scene: np.ndarray) -> None:
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    crops = [Crop(0.9 * 1.02**-i, right=-0.1 + 0.02 * i) for i in range(12)]
    found = camera_motion(cropped(scene, crops, size=128))
    assert found.zoom == pytest.approx(8 * math.log(1.02), rel=0.1)
    assert found.pan > 0.05
    assert abs(found.tilt) < 0.01


def test_a_camera_that_shakes_by_more_than_it_moves_still_shows_where_it_goes(
    scene: np.ndarray,
) -> None:
    """As frames do that were each drawn by themselves: their neighbours alone say 1.6 times that."""
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    shakes = np.random.default_rng(2).normal(0, 0.02, (16, 4)).tolist()
    crops = [
        Crop(0.9 * math.exp(zoom - 0.02 * i), right, down, 2 * angle)
        for i, (zoom, right, down, angle) in enumerate(shakes)
    ]
    found = camera_motion(cropped(scene[:1].repeat(16, axis=0), crops, size=128))
    assert found.zoom == pytest.approx(8 * 0.02, rel=0.1)


def test_one_similarity_after_another_is_the_product_of_their_matrices() -> None:
    first, second = Similarity(0.1, 3.0, -2.0, 0.2), Similarity(-0.3, 1.0, 5.0, -0.5)
    square = [np.vstack([s.matrix(64), [0, 0, 1]]) for s in (first, second, first.then(second))]
    assert square[1] @ square[0] == pytest.approx(square[2])


def test_a_thing_that_moves_by_itself_is_not_the_camera() -> None:
    flow = np.zeros((64, 64, 2))
    flow[20:40, 20:40] = (5.0, 0.0)
    assert similarity_of(flow, weight=np.ones((64, 64))) == pytest.approx((0, 0, 0, 0), abs=0.01)


def test_a_still_or_empty_clip_does_not_move(scene: np.ndarray) -> None:
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    assert camera_motion(scene[:1]) == CameraMotion(0.0, 0.0, 0.0, 0.0)
    white = np.full((4, 64, 64, 3), 255, np.uint8)
    assert camera_motion(white) == CameraMotion(0.0, 0.0, 0.0, 0.0)
