"""Motion scale and effect of a request: by number, frame, step, block and mask."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.options.motion import parse_block_scale
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")


@pytest.mark.parametrize(
    ("text", "site", "holds"),
    [
        ("1.2", "down_0_1", True),
        ("up:1.2", "up_1_0", True),
        ("up:1.2", "down_1_0", False),
        ("down_1:frames(0=1, 3=2)", "down_1_0", True),
        ("down_1:1", "down_10_0", False),
        ("mid:0.5", "mid_0", True),
        ("up_1_2:1", "up_1_2", True),
        ("up_1_2:1", "up_1_1", False),
    ],
)
def test_blocks_are_named_by_the_beginning_of_their_sites(
    text: str, site: str, holds: bool
) -> None:
    assert parse_block_scale(text, option="x").holds_at(site) is holds


def test_one_is_bit_for_bit_without_and_zero_is_the_image_model(
    animator: Animator, request_of: AnimationRequest
) -> None:
    plain = animator.animate(request_of).latents
    ones = animator.animate(request_of, motion_scale=("1",), motion_effect=("1.0",)).latents
    assert torch.equal(ones, plain)
    still = animator.animate(request_of, motion_effect=("0",)).latents
    animator.animated.set_motion_scale(0.0)
    alone = animator.animate(request_of).latents
    animator.animated.set_motion_scale(1.0)
    assert torch.equal(still, alone)
    assert not torch.equal(still, plain)
    assert torch.equal(animator.animate(request_of).latents, plain)


@pytest.mark.parametrize(
    "changes",
    [
        {"motion_scale": ("1.5",)},
        {"motion_scale": ("down:frames(0=1, 2=2)", "steps(0=1, 1=3)")},
        {"motion_effect": ("up:0.3",)},
        {"motion_scale": ("2",), "motion_scale_mask": "left"},
        {"motion_effect": ("0",), "motion_effect_mask": "0,0.5,1,1"},
    ],
)
def test_every_form_changes_what_is_drawn(
    animator: Animator, request_of: AnimationRequest, changes: dict[str, Any]
) -> None:
    plain = animator.animate(request_of).latents
    made = animator.animate(replace(request_of, **changes)).latents
    assert made.isfinite().all()
    assert not torch.equal(made, plain)


def test_a_mask_of_everything_is_no_mask(animator: Animator, request_of: AnimationRequest) -> None:
    one = animator.animate(request_of, motion_effect=("0.5",)).latents
    other = animator.animate(
        request_of, motion_effect=("0.5",), motion_effect_mask="0,0,1,1"
    ).latents
    assert torch.allclose(one, other, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"motion_scale": ("much",)}, "'much' is not a scale"),
        ({"motion_scale": ("20",)}, "motion_scale = 20 is out of range; choose 0 to 10"),
        ({"motion_effect": ("up:-1",)}, "motion_effect = -1 is out of range"),
        ({"motion_scale_mask": "left"}, "--motion-scale-mask says where --motion-scale holds"),
    ],
)
def test_what_cannot_be_is_refused(
    request_of: AnimationRequest, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(request_of, **changes).validated()


def test_a_block_that_there_is_not_is_named(
    animator: Animator, request_of: AnimationRequest
) -> None:
    with pytest.raises(InputError, match=r"has no block up_7; its blocks are down_0, down_1"):
        animator.animate(request_of, motion_scale=("up_7:2",))
