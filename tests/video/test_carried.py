"""A picture carried along a clip's motion keeps its look, moves as the clip does, and comes back."""

from __future__ import annotations

import numpy as np
import pytest

from animatediff.video.carried import TYPICAL, carried

SIZE = 64


def disc(x: float, y: float, *, colour: tuple[int, int, int], radius: float = 16) -> np.ndarray:
    """A textured disc on white."""
    rows, columns = np.mgrid[0:SIZE, 0:SIZE]
    inside = (columns - x) ** 2 + (rows - y) ** 2 < radius**2
    stripes = ((columns - x).astype(int) // 4 + (rows - y).astype(int) // 4) % 2
    picture = np.full((SIZE, SIZE, 3), 255, np.uint8)
    picture[inside] = np.array(colour) // (1 + stripes[inside][:, None])
    return picture


def there_and_back(frames: int = 16, *, far: float = 8) -> np.ndarray:
    """A red disc that goes to the right and comes back."""
    times = np.sin(np.linspace(0, np.pi, frames))
    return np.stack([disc(28 + far * t, 32, colour=(220, 40, 40)) for t in times])


def centre(frame: np.ndarray) -> float:
    """Horizontal centre of what is not white."""
    return float(np.nonzero(frame.min(axis=2) < 200)[1].mean())


BLUE = disc(28, 32, colour=(40, 40, 220))


def test_the_picture_moves_as_the_clip_does_and_keeps_its_colours() -> None:
    clip = there_and_back()
    shown = carried(BLUE, clip, speed=1)
    path = np.array([centre(frame) for frame in shown])
    asked = np.array([centre(frame) for frame in clip])
    assert np.corrcoef(path, asked)[0, 1] > 0.95
    assert np.ptp(path) > 2
    colours = shown[8][shown[8].min(axis=2) < 200].mean(axis=0)
    assert np.abs(colours - BLUE[BLUE.min(axis=2) < 200].mean(axis=0)).max() < 20


def test_the_first_and_the_last_frame_are_the_picture() -> None:
    shown = carried(BLUE, there_and_back()[:9], speed=1)  # the clip itself ends far away
    assert np.array_equal(shown[0], BLUE)
    assert np.abs(shown[-1].astype(int) - BLUE).mean() < 0.5
    assert np.abs(shown[4].astype(int) - BLUE).mean() > 2


def test_in_a_loop_the_last_frame_leads_to_the_first_and_is_not_shown_twice() -> None:
    turns = 2 * np.pi * np.arange(16) / 16
    clip = np.stack([disc(28 + 8 * np.sin(t), 32, colour=(220, 40, 40)) for t in turns])
    path = np.array([centre(frame) for frame in carried(BLUE, clip, speed=1, loop=True)])
    steps = np.abs(np.diff(path, append=path[0]))
    asked = np.abs(np.diff(8 * np.sin(turns), append=0))
    assert np.corrcoef(steps, asked)[0, 1] > 0.9
    assert steps[-1] > steps.max() / 2  # where the clip is fastest
    ends = carried(BLUE, clip, speed=1)
    assert np.abs(ends[-1].astype(int) - ends[0]).mean() < 0.5


@pytest.mark.parametrize("rate", [8, 16])
def test_the_speed_is_that_asked_for_whatever_the_clips_own(rate: int) -> None:
    """In shares of the side for each eighth of a second, on average over the thing."""
    for far in (6, 12):
        clip = there_and_back(2 * rate, far=far)
        path = [centre(frame) for frame in carried(BLUE, clip, speed=1, rate=rate)]
        speed = np.abs(np.diff(path)).mean() / SIZE * rate / 8
        assert speed == pytest.approx(TYPICAL, rel=0.35)


def test_a_clip_that_only_flickers_hardly_moves_the_picture() -> None:
    noise = np.random.default_rng(0)
    still = disc(28, 32, colour=(220, 40, 40)).astype(int)
    clip = np.stack(
        [np.clip(still + noise.integers(-25, 26, still.shape), 0, 255) for _ in range(16)]
    )
    shown = carried(BLUE, clip.astype(np.uint8), speed=1)
    moved = carried(BLUE, there_and_back(), speed=1)
    away = [np.abs(each.astype(int) - BLUE).mean() for each in (shown, moved)]
    assert away[0] < away[1] / 2


def test_a_clip_that_stands_still_shows_the_picture() -> None:
    clip = np.repeat(disc(28, 32, colour=(220, 40, 40))[None], 16, axis=0)
    assert np.abs(carried(BLUE, clip, speed=1).astype(int) - BLUE).max() <= 1


def test_pictures_of_other_shapes_and_without_a_plain_ground_are_carried_too() -> None:
    scene = np.random.default_rng(1).integers(0, 256, (10, 16, 3), dtype=np.uint8)
    scene = np.kron(scene, np.ones((16, 16, 1), np.uint8))  # 160 x 256: measured at half its size
    clip = np.stack([np.roll(scene, round(6 * np.sin(np.pi * t / 15)), axis=1) for t in range(16)])
    shown = carried(scene, clip, speed=1)
    assert shown.shape == clip.shape
    shifted = np.abs(shown[8, :, 40:200].astype(int) - scene[:, 40:200]).mean()
    back = min(
        np.abs(shown[8, :, 40:200].astype(int) - np.roll(scene, s, axis=1)[:, 40:200]).mean()
        for s in range(1, 16)
    )
    assert back < shifted / 2


@pytest.mark.parametrize("size", [(8, 8), (8, 64), (16, 256), (512, 8)])
def test_pictures_of_every_shape_are_carried(size: tuple[int, int]) -> None:
    """Below 16 pixels a side, OpenCV's flow ends the process, or raises."""
    frames = np.random.default_rng(0).integers(0, 256, (3, *size, 3), dtype=np.uint8)
    shown = carried(frames[0], frames, speed=1)
    assert shown.shape == frames.shape
    assert np.array_equal(shown[-1], frames[0])
