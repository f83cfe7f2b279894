"""A settled request: every choice is made once, by the request or else by the model."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import Model, Settled, settle
from animatediff.sampling.steps.sampler_kinds import SAMPLERS

SettleWith = Callable[..., Settled]


@pytest.fixture
def model(animator: Animator) -> Model:
    return animator.model


@pytest.fixture
def settled(request_of: AnimationRequest, model: Model) -> SettleWith:
    return lambda **changes: settle(replace(request_of, **changes), model)


def test_what_a_request_leaves_open_is_the_models(settled: SettleWith, model: Model) -> None:
    made = settled(num_frames=None, steps=None, guidance=None, scheduler=None)
    family = model.family
    assert (made.num_frames, made.steps) == (family.num_frames, family.steps)
    assert made.guidance == family.guidance
    assert made.sampler == SAMPLERS[family.scheduler]
    assert made.width == made.height == model.side == 32


def test_what_a_request_says_wins(settled: SettleWith) -> None:
    made = settled(num_frames=5, width=64, height=16, steps=7, guidance=2, scheduler="euler-a")
    assert (made.num_frames, made.width, made.height, made.steps) == (5, 64, 16, 7)
    assert (made.guidance, type(made.guidance)) == (2.0, float)
    assert made.sampler == SAMPLERS["euler-a"]


def test_the_request_that_is_kept_has_nothing_left_to_choose(
    settled: SettleWith, model: Model
) -> None:
    made = settled(num_frames=None, steps=None, guidance=None, prompt="a {fox|hare}", seed=3)
    kept = made.request
    assert None not in (kept.num_frames, kept.steps, kept.guidance, kept.width, kept.height)
    assert (kept.scheduler, kept.precision) == (model.family.scheduler, model.precision)
    assert kept.prompt in ("a fox", "a hare")
    assert made.template == {"prompt": "a {fox|hare}"}
    again = settle(kept, model)
    assert again == replace(made, template={}), "settling twice changed something"


def test_it_cannot_be_changed_afterwards(settled: SettleWith) -> None:
    made = settled()
    for field in fields(made):
        with pytest.raises(AttributeError):
            setattr(made, field.name, None)


@pytest.mark.parametrize(
    ("guidance", "is_guided"), [(1.0, False), (1, False), (7.5, True), (0.0, True)]
)
def test_only_at_a_scale_of_one_is_nothing_guided(
    settled: SettleWith, guidance: float, is_guided: bool
) -> None:
    assert settled(guidance=guidance).is_guided == is_guided


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"num_frames": 0}, "num_frames = 0 is out of range"),
        ({"steps": 0}, "steps = 0 is out of range"),
        ({"guidance": float("nan")}, "guidance = nan is not a finite number"),
        ({"width": 20}, "width = 20"),
        ({"motion": "none"}, "The request is for model .*, motion none, and this animator has"),
        ({"precision": "fp16"}, "for precision fp16, and this animator runs in fp32"),
        ({"adapter": "emoji:1"}, "domain adapter emoji"),
    ],
)
def test_what_this_model_cannot_do_is_refused_in_one_sentence(
    settled: SettleWith, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence) as refused:
        settled(**changes)
    assert "\n" not in str(refused.value)
    assert re.search(r"\.$", str(refused.value))


def test_scales_are_for_the_request_and_files_are_for_the_animator(
    settled: SettleWith, tiny_lora: Any
) -> None:
    """A LoRA and its scale may differ from request to request on the same animator."""
    one, two = (settled(loras=(f"{tiny_lora}:{scale}",)) for scale in (0.5, -1))
    assert one.styles == ((tiny_lora, Scale.of(0.5)),)
    assert two.styles == ((tiny_lora, Scale.of(-1.0)),)
    assert (one.alpha, one.motion_scales, one.motion_pulls) == (Scale.of(0.0), (), ())
