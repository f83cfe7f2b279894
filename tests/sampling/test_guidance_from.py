"""Guidance that is left out where there is little noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")

Rows = Callable[[AnimationRequest], list[int]]


@pytest.fixture(scope="module")
def animator(tiny_world: Path, tiny_motion: Path) -> Animator:
    return Animator.load(str(tiny_world), motion=str(tiny_motion))


@pytest.fixture
def asked(request_of: AnimationRequest) -> AnimationRequest:
    # DDIM's four steps are at timesteps 751, 501, 251 and 1.
    return replace(request_of, steps=4, scheduler="ddim", guidance=3.0)


@pytest.fixture
def rows(animator: Animator) -> Rows:
    """How many frames the image model is given in each step."""

    def of(request: AnimationRequest) -> list[int]:
        given: list[int] = []

        def note(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            given.append(len(inputs[0]))

        hook = animator.base.unet.conv_in.register_forward_pre_hook(note)
        animator.animate(request)
        hook.remove()
        return given

    return of


def test_below_it_a_step_predicts_one_clip(asked: AnimationRequest, rows: Rows) -> None:
    assert asked.num_frames is not None
    one = asked.num_frames
    assert rows(asked) == [2 * one] * 4
    assert rows(replace(asked, guidance_from=251)) == [2 * one, 2 * one, 2 * one, one]
    assert rows(replace(asked, guidance_from=252)) == [2 * one, 2 * one, one, one]
    assert rows(replace(asked, guidance_from=1000)) == [one] * 4


def test_what_it_leaves_is_the_clip_with_the_prompt(
    animator: Animator, asked: AnimationRequest
) -> None:
    never = animator.animate(replace(asked, guidance_from=1000)).latents
    assert torch.equal(never, animator.animate(replace(asked, guidance=1.0)).latents)
    at_first = animator.animate(replace(asked, guidance_from=600)).latents
    always = animator.animate(asked).latents
    assert not torch.equal(at_first, always)
    assert not torch.equal(at_first, never)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"guidance_from": 1001}, "guidance_from = 1001 is out of range; choose 0 to 1000"),
        ({"guidance_from": float("nan")}, "guidance_from = nan is not a finite number"),
        (
            {"guidance_from": 400, "guidance": 1.0},
            "With a guidance of 1 there is none to leave out",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused(
    changes: dict[str, float], sentence: str, asked: AnimationRequest
) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(asked, **changes).validated()
