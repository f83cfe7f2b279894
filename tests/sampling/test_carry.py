"""Animations whose still is carried along their motion."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.carry import chosen_carry
from animatediff.sampling.request import AnimationRequest
from animatediff.video.carried import carried

SHORT = AnimationRequest(
    "a fox", num_frames=4, steps=4, width=64, height=64, scheduler="ddim", upscale=1, seed=3
)
BEGUN = replace(SHORT, from_still=0.9, action="none")


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator.load("emoji")


def test_the_built_in_model_carries_its_still_and_published_modules_do_not(
    animator: Animator, tiny_world: Path, tiny_motion: Path
) -> None:
    assert animator.resolved(SHORT).carry == 1
    other = Animator.load(str(tiny_world), motion=str(tiny_motion), family="v3")
    assert other.resolved(AnimationRequest("a fox")).carry == 0


def test_frames_are_the_still_under_the_motion_that_was_drawn(animator: Animator) -> None:
    still = Animator.load("emoji", motion="none").animate(replace(SHORT, num_frames=1)).frames[0]
    drawn = animator.animate(replace(SHORT, carry=0))
    shown = animator.animate(SHORT)
    assert np.array_equal(shown.frames, carried(still, drawn.frames, speed=1))
    assert np.array_equal(shown.latents, drawn.latents)
    assert not np.array_equal(shown.frames, drawn.frames)


def test_without_a_still_the_first_frame_is_carried(animator: Animator) -> None:
    drawn = animator.animate(replace(SHORT, from_still=1))
    shown = animator.animate(replace(SHORT, from_still=1, carry=2))
    assert np.array_equal(shown.frames, carried(drawn.frames[0], drawn.frames, speed=2))


@pytest.mark.parametrize(
    "given",
    [
        {"carry": 0.0},
        {"prompt": "a chair Standing Still, flat style"},
        {"from_still": 1.0},
        {"num_frames": 1},
        {"num_frames": 2},  # the last is the first again
        {"action": "bounce"},
        {"prompts": {"0": "a fox", "2": "a hare"}},
        {"controls": ("edges:1",)},
        {"motion_scale": ("1.2",)},
        {"motion_effect": ("0.5",)},
        {"motion_loras": ("zoom-in:1",)},
        {"hires": 2.0},
        {"image": "fox.png"},
    ],
)
def test_nothing_is_carried_by_itself_where_something_else_says_what_moves(
    given: dict[str, object],
) -> None:
    request = replace(BEGUN, **given)  # pyright: ignore[reportArgumentType]
    assert chosen_carry(request, usual=1, moves=True) == 0


def test_what_cannot_be_carried_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="give --motion"):
        chosen_carry(replace(BEGUN, carry=1), usual=1, moves=False)
    with pytest.raises(InputError, match="at least 3 frames"):
        chosen_carry(replace(BEGUN, carry=1, num_frames=2), usual=1, moves=True)
    with pytest.raises(InputError, match="leaves nothing of --action"):
        chosen_carry(replace(BEGUN, carry=1, action="bounce"), usual=1, moves=True)
    with pytest.raises(InputError, match="leaves nothing of --keyframe"):
        chosen_carry(replace(BEGUN, carry=1, prompts={"0": "a fox"}), usual=1, moves=True)


def test_requests_from_before_frames_were_carried_keep_them_as_drawn() -> None:
    table = SHORT.as_table()
    del table["carry"]
    assert AnimationRequest.from_table(table).carry == 0
