"""Actions as transforms: what each does to a picture, and that things stay in it."""

from __future__ import annotations

import random

import numpy as np
import pytest

from animatediff.video.actions import ACTIONS, Action, largest_fit, scaled

SQUARE = np.array([[-0.9, -0.8], [0.9, -0.8], [0.9, 0.8], [-0.9, 0.8]])


def drawn(name: str, seed: int = 0) -> Action:
    return Action.drawn(name, random.Random(seed))


def seen(action: Action, point: tuple[float, float], *, foot: float = 0.8) -> np.ndarray:
    """Where a point is in each of 16 frames."""
    matrices = action.transforms(16, foot=foot)
    return np.stack([(m @ np.array([*point, 1.0]))[:2] for m in matrices])


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_action_moves_and_is_the_same_when_drawn_again(name: str) -> None:
    action = drawn(name)
    assert action == drawn(name)
    assert np.ptp(seen(action, (0.5, -0.5)), axis=0).max() > 0.05
    assert all(word and word == word.lower() for word in action.words)


@pytest.mark.parametrize("rate", [0.1, 1, 2, 4, 8, 120])
@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_every_action_moves_at_every_frame_rate(name: str, rate: float) -> None:
    action = Action.usual(name, seconds=16 / rate, num_frames=16)
    assert np.ptp(seen(action, (0.5, -0.5)), axis=0).max() > 0.03
    if rate >= 8:
        assert action == Action.usual(name, seconds=16 / rate)


def test_what_bounces_stands_on_its_foot_when_it_hits_the_ground_and_is_above_it_otherwise() -> (
    None
):
    path = seen(Action("bounce", 0.4, 2, 0.0), (0.0, 0.8))[:, 1]
    assert path[0] == pytest.approx(0.8)
    assert path.max() == pytest.approx(0.8)
    assert path.min() == pytest.approx(0.4, abs=0.02)


def test_what_spins_keeps_its_size_and_turns_all_the_way() -> None:
    points = seen(Action("spin", 1.0, 1, 0.0), (0.5, 0.0))
    assert np.allclose(np.linalg.norm(points, axis=1), 0.5)
    angles = np.unwrap(np.arctan2(points[:, 1], points[:, 0]))
    assert angles[-1] == pytest.approx(2 * np.pi * 15 / 16)


def test_what_pulses_grows_and_shrinks_and_what_grows_only_grows() -> None:
    pulse = seen(Action("pulse", 0.2, 1, 0.0), (0.5, 0.0))[:, 0]
    assert pulse.max() > 0.55
    assert pulse.min() < 0.45
    assert (np.diff(seen(drawn("grow"), (0.5, 0.0))[:, 0]) > 0).all()
    assert (np.diff(seen(drawn("shrink"), (0.5, 0.0))[:, 0]) < 0).all()


def test_a_slide_goes_the_way_that_its_words_say() -> None:
    right, left = (Action("slide", 0.3, 1, 0.0, way) for way in (1, -1))
    assert "sliding to the right" in right.words
    assert seen(right, (0.0, 0.0))[-1, 0] > seen(right, (0.0, 0.0))[0, 0]
    assert "sliding to the left" in left.words
    assert seen(left, (0.0, 0.0))[-1, 0] < seen(left, (0.0, 0.0))[0, 0]


def test_swaying_keeps_the_foot_where_it_is() -> None:
    for way in (1, -1):
        action = Action("sway", 0.3, 1, 0.2, way)
        assert np.allclose(seen(action, (0.0, 0.8)), [0.0, 0.8])
        assert np.ptp(seen(action, (0.0, -0.8))[:, 0]) > 0.3


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_things_stay_in_the_picture(name: str) -> None:
    for seed in range(5):
        action = drawn(name, seed)
        matrices = action.transforms(16, foot=0.8)
        size = largest_fit(SQUARE, matrices)
        assert 0.55 <= size <= 1
        smaller = scaled(size, size)
        corners = np.stack(
            [
                (m @ smaller)[:2, :2] @ SQUARE.T + (m @ smaller)[:2, 2:]
                for m in action.transforms(16, foot=0.8 * size)
            ]
        )
        assert np.abs(corners).max() < (1.02 if size > 0.55 else 1.5)
