"""Pictures under an action: things stay in the picture, and other pictures move as a whole."""

from __future__ import annotations

import numpy as np
import pytest

from animatediff.video.acted import acted
from animatediff.video.actions import ACTIONS, Action


def on_white(*, left: int, right: int, top: int, bottom: int, frames: int = 16) -> np.ndarray:
    """Clips of a blue box on white that stands still."""
    picture = np.full((64, 64, 3), 255, np.uint8)
    picture[top:bottom, left:right] = (0, 80, 200)
    return np.repeat(picture[None], frames, axis=0)


def box_of(frame: np.ndarray) -> tuple[int, int, int, int]:
    """Left, right, top and bottom of what is not white."""
    rows, columns = np.nonzero(frame.min(axis=2) < 128)
    return columns.min(), columns.max(), rows.min(), rows.max()


def test_what_bounces_leaves_the_ground_and_comes_back() -> None:
    moved = acted(on_white(left=24, right=40, top=30, bottom=54), Action.usual("bounce"))
    bottoms = [box_of(frame)[3] for frame in moved]
    assert abs(bottoms[0] - bottoms[8]) <= 1  # twice in two seconds
    assert min(bottoms) <= bottoms[0] - 5
    assert all(abs(box_of(frame)[0] + box_of(frame)[1] - 63) <= 2 for frame in moved)


def test_what_spins_ends_a_step_before_it_began() -> None:
    clip = on_white(left=20, right=44, top=28, bottom=36)
    moved = acted(clip, Action.usual("spin"))
    assert np.abs(moved[0].astype(int) - clip[0]).mean() < 1
    upright = moved[4]
    left, right, top, bottom = box_of(upright)
    assert bottom - top > 2 * (right - left)


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_a_thing_that_fills_the_picture_stays_in_it(name: str) -> None:
    moved = acted(on_white(left=8, right=56, top=8, bottom=56), Action.usual(name))
    for frame in moved:
        border = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
        assert border.min() > 200
    assert np.abs(moved.astype(int) - moved[0]).max() > 50


@pytest.mark.parametrize("size", [(96, 192), (192, 96)])
@pytest.mark.parametrize("name", sorted(ACTIONS.keys() - {"spin"}))
def test_a_thing_stays_in_a_picture_that_is_not_square(name: str, size: tuple[int, int]) -> None:
    """Turned upright, a wide thing does not fit a wide picture at any size that is still large."""
    picture = np.full((*size, 3), 255, np.uint8)
    picture[size[0] // 8 : -size[0] // 8, size[1] // 8 : -size[1] // 8] = (0, 80, 200)
    for frame in acted(np.repeat(picture[None], 16, axis=0), Action.usual(name)):
        border = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
        assert border.min() > 200


def test_a_wide_picture_sways_about_its_own_bottom_edge() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (32, 128, 3), dtype=np.uint8)
    moved = acted(np.repeat(noise[None], 16, axis=0), Action.usual("sway"))
    middle = slice(60, 68)
    away = np.abs(moved[2].astype(int) - noise)[:, middle].mean(axis=(1, 2))
    assert away[-1] < away[0] / 2


def test_a_picture_without_a_plain_ground_moves_as_a_whole_at_its_own_size() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    moved = acted(np.repeat(noise[None], 16, axis=0), Action.usual("to-and-fro", strength=2))
    assert np.array_equal(moved[0], noise)
    shift = next(
        s for s in range(1, 32) if np.abs(moved[4][:, s:].astype(int) - noise[:, :-s]).mean() < 40
    )
    assert np.array_equal(moved[4][:, 0], moved[4][:, 1])  # the border's colours go on
    assert shift > 4


def test_twice_the_size_goes_twice_as_far_and_a_longer_clip_acts_as_fast() -> None:
    once, twice = Action.usual("bounce"), Action.usual("bounce", strength=2)
    assert twice.amount == pytest.approx(2 * once.amount)
    assert Action.usual("grow", strength=2).amount == pytest.approx(
        Action.usual("grow").amount ** 2
    )
    assert Action.usual("bounce", seconds=4).cycles == 2 * once.cycles
    assert Action.usual("bounce", seconds=0.5).cycles == 1
    assert Action.usual("slide", seconds=8).cycles == 1


def test_what_the_border_cuts_off_does_not_go_on_beyond_it() -> None:
    """Shrinking shows more than the picture: the ground, not a streak of the thing."""
    moved = acted(on_white(left=30, right=34, top=0, bottom=64), Action.usual("shrink"))
    assert moved[-1][0].min() == 255
    assert moved[-1][32, 32].min() == 0


def test_a_thing_that_touches_the_border_is_made_smaller_too() -> None:
    moved = acted(on_white(left=0, right=44, top=0, bottom=24), Action.usual("slide"))
    for frame in moved:
        border = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
        assert border.min() > 200
