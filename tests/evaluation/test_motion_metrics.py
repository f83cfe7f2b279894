from fractions import Fraction

import numpy as np
import pytest

from animatediff.evaluation.motion_metrics import (
    FROZEN_BELOW,
    flow_between,
    foreground_flow,
    foreground_of,
    is_dynamic,
    largest_change,
    resized,
    warp_error,
)


def sliding_square(*, step: float, count: int = 6, side: int = 128) -> np.ndarray:
    """A textured square on white that moves right by ``step`` px a frame."""
    texture = np.random.default_rng(0).integers(0, 180, (12, 12, 3)).astype(np.uint8)
    texture = texture.repeat(4, axis=0).repeat(4, axis=1)
    frames = np.full((count, side, side, 3), 255, dtype=np.uint8)
    for frame in range(count):
        left = 20 + round(step * frame)
        frames[frame, 40:88, left : left + 48] = texture
    return frames


def test_a_sliding_square_has_the_flow_it_was_given():
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    assert foreground_flow(sliding_square(step=3)) == pytest.approx(3, rel=0.15)


def test_flow_is_per_eighth_of_a_second_at_any_rate():
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    at_8 = foreground_flow(sliding_square(step=4))
    at_16 = foreground_flow(sliding_square(step=2, count=12), fps=Fraction(16))
    assert at_16 == pytest.approx(at_8, rel=0.15)
    assert foreground_flow(sliding_square(step=2), fps=4) == pytest.approx(1, rel=0.2)


def test_flow_is_in_pixels_of_a_128_pixel_picture():
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    doubled = sliding_square(step=3).repeat(2, axis=1).repeat(2, axis=2)
    assert foreground_flow(doubled) == pytest.approx(3, rel=0.15)


def test_an_empty_clip_has_no_flow():
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    white = np.full((4, 128, 128, 3), 255, dtype=np.uint8)
    assert foreground_flow(white) == 0
    assert foreground_flow(sliding_square(step=3, count=1)) == 0


def test_the_foreground_is_what_differs_from_white():
    frames = sliding_square(step=0, count=1)
    ink = foreground_of(frames)[0]
    assert ink[40:88, 20:68].all()
    assert ink.sum() == 48 * 48
    nearly_white = np.full((1, 8, 8, 3), 240, dtype=np.uint8)
    assert not foreground_of(nearly_white).any()


def test_a_static_clip_is_frozen_and_a_moving_one_is_not():
    assert largest_change(sliding_square(step=0)) < FROZEN_BELOW
    assert largest_change(sliding_square(step=0)) == 0
    assert largest_change(sliding_square(step=6)) >= FROZEN_BELOW


def test_frozen_looks_at_the_largest_change_of_any_frame():
    frames = np.full((5, 16, 16, 3), 255, dtype=np.uint8)
    frames[2] = 0  # a single flash, gone again in the last frame
    assert largest_change(frames) == pytest.approx(1)
    assert largest_change(frames) >= FROZEN_BELOW


def test_frames_of_the_right_size_are_left_alone():
    frames = sliding_square(step=1)
    assert resized(frames, side=128) is frames
    assert resized(frames, side=32).shape == (6, 32, 32, 3)


def test_what_moves_rigidly_has_little_warp_error_and_what_boils_has_much():
    pytest.importorskip("cv2", reason="optical flow needs opencv-python-headless")
    rigid = sliding_square(step=3)
    noise = np.random.default_rng(1).integers(-60, 60, rigid.shape)
    boiling = np.where(rigid < 255, np.clip(rigid + noise, 0, 230), rigid).astype(np.uint8)
    assert warp_error(rigid) < 0.03
    assert warp_error(boiling) > 2 * warp_error(rigid)
    assert warp_error(np.repeat(rigid[:1], 4, axis=0)) == pytest.approx(0, abs=1e-3)
    assert warp_error(np.full((4, 128, 128, 3), 255, np.uint8)) == 0


@pytest.mark.parametrize("size", [(8, 8), (8, 64), (12, 300)])
def test_frames_of_every_shape_have_a_flow(size: tuple[int, int]):
    """Below 16 pixels a side, OpenCV's flow ends the process, or raises."""
    frames = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    assert flow_between(*frames).shape == (*size, 2)
    assert is_dynamic(frames) in (True, False)
