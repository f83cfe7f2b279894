"""Left stays left: what must not be mirrored."""

from __future__ import annotations

import pytest

from animatediff.data.camera import PATTERNS
from animatediff.data.mirroring import may_mirror


@pytest.mark.parametrize(
    "words",
    [
        "a man walking to the left",
        "Right hand of a statue",
        "rightwards hand",
        "a left-handed pitcher",
        "lefthanded",
        "pan_left",
        "pan-right",
        "the wheel turns counter-clockwise",
        "anticlockwise",
        "ten o’clock",
        "three o'clock",
        "driving eastward",
        "向左走",
        "up arrow",
    ],
)
def test_words_that_tell_left_from_right_forbid_mirroring(words: str) -> None:
    assert not may_mirror(words)
    assert not may_mirror("a fox", words)
    assert not may_mirror(words.upper())


@pytest.mark.parametrize(
    "words", ["a fox", "a bright day", "copyright", "cleft chin", "beast", "feast", ""]
)
def test_other_words_do_not(words: str) -> None:
    assert may_mirror(words)
    assert may_mirror(None, words)


def test_every_camera_move_with_a_side_is_known() -> None:
    sided = {name for name in PATTERNS if not may_mirror(name)}
    assert sided == {n for n in PATTERNS if n.startswith(("pan-", "roll-"))}
