"""The action that a prompt ends with."""

from __future__ import annotations

import pytest

from animatediff.sampling.acting.words import action_in


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("a frog bouncing, flat style", ("bounce", "a frog, flat style")),
        ("a frog is Jumping", ("bounce", "a frog")),
        ("dolphin, bouncing up and down, 3d style", ("bounce", "dolphin, 3d style")),
        ("red heart growing and shrinking", ("pulse", "red heart")),
        ("red heart growing", ("grow", "red heart")),
        ("lamp swaying from side to side,flat style", ("sway", "lamp, flat style")),
        ("growing heart, 3d style", None),  # its name
        ("beating heart", None),
        ("man bouncing ball", None),
        ("shopping", None),
        ("a frog bouncing, a fox spinning", None),  # which of them?
        ("a frog bouncing, jumping", ("bounce", "a frog")),
        ("bouncing", None),  # nothing would be left to draw
        ("a fox", None),
        ("", None),
    ],
)
def test_words_that_name_an_action_leave_the_prompt(
    prompt: str, found: tuple[str, str] | None
) -> None:
    assert action_in(prompt) == found
