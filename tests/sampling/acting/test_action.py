"""Animations whose prompt or option names an action."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.action import with_action
from animatediff.sampling.request import AnimationRequest
from animatediff.video.acted import acted
from animatediff.video.actions import Action

SHORT = AnimationRequest(
    "a fox", num_frames=8, steps=4, width=64, height=64, scheduler="ddim", upscale=1, seed=3
)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator.load("emoji")


def test_words_of_the_prompt_choose_an_action_of_the_built_in_model(animator: Animator) -> None:
    settled = animator.resolved(replace(SHORT, prompt="a fox bouncing, flat style"))
    assert (settled.action, settled.prompt) == ("bounce", "a fox, flat style")
    assert settled.from_still == 0
    assert animator.resolved(settled) == settled


def test_other_models_read_the_words_themselves(tiny_world: Path, tiny_motion: Path) -> None:
    other = Animator.load(str(tiny_world), motion=str(tiny_motion), family="v3")
    settled = other.resolved(AnimationRequest("a fox bouncing"))
    assert (settled.action, settled.prompt, settled.from_still) == ("none", "a fox bouncing", 1)
    assert other.resolved(AnimationRequest("a fox", action="bounce")).from_still == 0


@pytest.mark.parametrize(
    "given",
    [
        {"action": "none"},
        {"from_still": 1.0},
        {"num_frames": 1},
        {"free_init": 2},
        {"prompts": {"0": "a fox", "4": "a hare"}},
        {"motion_loras": ("zoom-in:1",)},
        {"motion_scale": ("1.2",)},
        {"init": "fox.mp4"},
    ],
)
def test_words_stay_where_something_else_says_what_moves(given: dict[str, object]) -> None:
    request = replace(SHORT, prompt="a fox bouncing", **given)  # pyright: ignore[reportArgumentType]
    settled = with_action(request, by_words=True, moves=True)
    assert (settled.action, settled.prompt) == ("none", "a fox bouncing")


def test_a_loop_takes_only_actions_that_end_where_they_begin() -> None:
    for prompt, action in (("a star growing", "none"), ("a star pulsing", "pulse")):
        request = replace(SHORT, prompt=prompt, loop=True)
        assert with_action(request, by_words=True, moves=True).action == action


def test_frames_are_near_the_still_under_the_action(animator: Animator) -> None:
    """Nearer than to the still in any other frame's place."""
    still = Animator.load("emoji", motion="none").animate(replace(SHORT, num_frames=1)).frames[0]
    moved = acted(np.repeat(still[None], 8, axis=0), Action.usual("bounce", seconds=1))
    drawn = animator.animate(replace(SHORT, action="bounce", from_still=0.25)).frames
    away = np.abs(drawn[:, None].astype(float) - moved[None]).mean(axis=(2, 3, 4))
    for frame in (0, 4):
        others = [
            place
            for place in range(8)
            if np.abs(moved[place] - moved[frame].astype(int)).mean() > 8
        ]
        assert others
        assert away[frame, frame] < away[frame, others].min() / 2


def test_where_no_step_follows_the_moved_still_is_shown_as_it_is(animator: Animator) -> None:
    still = Animator.load("emoji", motion="none").animate(replace(SHORT, num_frames=1)).frames[0]
    stages: list[str] = []
    shown = animator.animate(
        replace(SHORT, action="bounce"), on_step=lambda progress: stages.append(progress.stage)
    )
    bounce = Action.usual("bounce", seconds=float(8 / shown.request.rate))
    assert np.array_equal(shown.frames, acted(np.repeat(still[None], 8, axis=0), bounce))
    assert stages[-1] == "decode"


def test_the_request_says_what_was_chosen_and_draws_the_same_again(animator: Animator) -> None:
    made = animator.animate(replace(SHORT, prompt="a fox spinning", from_still=0.5))
    assert made.request.action == "spin"
    again = animator.animate(AnimationRequest.from_table(made.request.as_table()))
    assert np.array_equal(made.frames, again.frames)


def test_requests_from_before_there_were_actions_do_none() -> None:
    table = replace(SHORT, prompt="a fox spinning").as_table()
    del table["action"]
    assert AnimationRequest.from_table(table).action == "none"


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"action": "fly"}, "There is no action 'fly'; use bounce, grow, nod"),
        ({"action": "bounce:0"}, "above 0 and at most 2, such as bounce:0.5, not '0'"),
        ({"action": "bounce:far"}, "not 'far'"),
        ({"action": "none:1"}, "There is no action 'none'|no action"),
        (
            {"action": "bounce", "init": "fox.mp4"},
            "begins from a still, and --init from something else",
        ),
        ({"action": "bounce", "from_still": 1.0}, "--from-still 1 draws none"),
        ({"action": "bounce", "num_frames": 1}, "more than one frame"),
        ({"action": "bounce", "motion_effect": ("0.5",)}, "or give --from-still 0.3"),
        ({"action": "bounce", "motion_loras": ("zoom-in:1",)}, "in which --motion-lora could act"),
        ({"action": "grow:0.5", "loop": True}, "does not end where it begins, as --loop needs"),
    ],
)
def test_what_cannot_act_is_refused_in_a_sentence(given: dict[str, object], says: str) -> None:
    request = replace(SHORT, **given)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=says):
        with_action(request.validated(), by_words=True, moves=True)


def test_without_a_motion_module_nothing_acts() -> None:
    with pytest.raises(InputError, match="give --motion"):
        with_action(replace(SHORT, action="bounce"), by_words=True, moves=False)
    settled = with_action(replace(SHORT, prompt="a fox bouncing"), by_words=True, moves=False)
    assert settled.prompt == "a fox bouncing"
