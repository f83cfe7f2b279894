"""More frames: what stays, what is drawn between, and that it beats a cross-fade."""

from fractions import Fraction

import numpy as np
import pytest

from animatediff.errors import InputError
from animatediff.finishing.interpolation import MAX_FACTOR, interpolated
from animatediff.video import Video


def _ball(shift: float, *, size: int = 96) -> np.ndarray:
    """A textured ball over a textured ground, ``shift`` pixels to the right of the middle."""
    y, x = np.mgrid[0:size, 0:size].astype(np.float64)
    ground = 150 + 40 * np.sin(x / 5) * np.cos(y / 7)
    u = x - size / 2 - shift
    inside = 1 / (1 + np.exp(3 * (np.hypot(u, y - size / 2) - size / 5)))
    ball = 90 + 60 * np.cos(u / 3) * np.sin(y / 4)
    gray = inside * ball + (1 - inside) * ground
    return np.stack([gray, gray * 0.8, 255 - gray], axis=-1).round().astype(np.uint8)


def _video(shifts: list[float]) -> Video:
    return Video(np.stack([_ball(shift) for shift in shifts]), Fraction(8))


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("method", ["flow", "blend", "repeat"])
@pytest.mark.parametrize("factor", [2, 3])
def test_the_frames_of_the_video_are_kept_byte_for_byte(method, factor):
    video = _video([0, 4, 9])
    more = interpolated(video, factor, method=method)
    assert more.num_frames == 2 * factor + 1
    assert more.fps == 8 * factor
    np.testing.assert_array_equal(more.frames[::factor], video.frames)


@pytest.mark.parametrize(("distance", "t"), [(4.0, 2), (7.0, 2), (6.0, 3)])
def test_flow_beats_a_cross_fade_by_more_than_three_decibels(distance, t):
    video = _video([0, distance])
    truth = _ball(distance / t)
    flow = interpolated(video, t).frames[1]
    fade = interpolated(video, t, method="blend").frames[1]
    assert _psnr(flow, truth) > _psnr(fade, truth) + 3


def test_a_loop_is_also_filled_between_its_last_frame_and_its_first():
    video = _video([0, 3, 6, 3])
    more = interpolated(video, 2, closed=True)
    assert more.num_frames == 8
    truth = _ball(1.5)
    assert _psnr(more.frames[7], truth) > _psnr(video.frames[3], truth) + 3
    assert _psnr(more.frames[7], truth) > _psnr(video.frames[0], truth) + 3


def test_a_cut_is_not_bridged():
    noise = np.random.default_rng(0).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)
    more = interpolated(Video(noise, Fraction(8)), 4)
    for frame in more.frames:
        assert any(np.array_equal(frame, own) for own in noise)


def test_frames_that_stand_still_stay_still():
    more = interpolated(_video([2, 2]), 4)
    assert (more.frames == more.frames[0]).all()


def test_a_tiny_picture_is_cross_faded():
    frames = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (0, 200)])
    assert (interpolated(Video(frames, Fraction(8)), 2).frames[1] == 100).all()


def test_factor_one_and_a_single_frame_change_nothing():
    video = _video([0, 3])
    assert interpolated(video, 1) is video
    single = _video([0])
    assert interpolated(single, 4) is single


@pytest.mark.parametrize("factor", [0, -2, MAX_FACTOR + 1])
def test_a_factor_out_of_range_is_refused(factor):
    with pytest.raises(InputError, match="1 to 16"):
        interpolated(_video([0, 1]), factor)
