"""Forwards and backwards."""

from fractions import Fraction

import numpy as np
import pytest

from animatediff.finishing.playback import there_and_back
from animatediff.video import Video


def numbered(count: int) -> Video:
    frames = np.zeros((count, 2, 2, 3), np.uint8)
    frames += np.arange(count, dtype=np.uint8)[:, None, None, None]
    return Video(frames, Fraction(8))


@pytest.mark.parametrize(
    ("count", "played"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2, 1]), (5, [0, 1, 2, 3, 4, 3, 2, 1])]
)
def test_the_ends_are_shown_once(count, played):
    assert there_and_back(numbered(count)).frames[:, 0, 0, 0].tolist() == played
