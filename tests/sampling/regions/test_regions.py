"""Prompts for parts of the frame, and masks that move."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator, load_request
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.around.regional import regional, shares_of
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.regions.areas import area_of
from animatediff.sampling.regions.masks import softened
from animatediff.sampling.regions.options import parse_region
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

OF_ROWS = torch.tensor([1.0, 3.0, 10.0, -2.0])


def rows_apart(ask: Ask) -> Tensor:
    rows = OF_ROWS[ask.rows].to(ask.latents)
    return rows[:, None, None, None, None].expand_as(ask.latents)


def test_inside_its_mask_a_region_replaces_the_prompt_and_masks_share() -> None:
    one, other = torch.zeros(2, 4, 5, 6)
    one[1, :, :3] = 1
    other[:, :, 2:4] = 1
    other[:, :, 5] = 0.25
    ask = Ask(torch.zeros(1, 4, 3, 5, 6), torch.tensor(9), 0, WITH_PROMPT, torch.tensor([0, 1, 3]))
    predict = guided(
        regional(rows_apart, first_row=2, shares=shares_of([one, other])),
        guidance=classifier_free(2.0),
    )
    made = predict(ask)[0, 0]
    expected = torch.full((3, 5, 6), 3.0)
    expected[1, :, :2] = 10
    expected[1, :, 2] = (10 - 2) / 2
    expected[1, :, 3] = -2
    expected[0, :, 2:4] = expected[2, :, 2:4] = -2
    expected[:, :, 5] = 3 + 0.25 * (-2 - 3)
    assert torch.allclose(made, 1 + 2 * (expected - 1), atol=1e-5)


def test_edges_are_soft_around_where_they_were() -> None:
    mask = torch.zeros(1, 20, 40)
    mask[:, :, :20] = 1
    soft = softened(mask, sigma=3.0)
    row = soft[0, 10]
    assert (row.diff() <= 1e-6).all()
    assert row[0] == pytest.approx(1, abs=1e-5)
    assert row[-1] == pytest.approx(0, abs=1e-5)
    assert row[19] + row[20] == pytest.approx(1, abs=1e-4)
    assert 0.3 < row[19] < 0.7
    assert torch.equal(softened(mask, sigma=0.0), mask)


def test_areas_and_regions_are_read_as_typed() -> None:
    assert area_of("left") == (0, 0, 0.5, 1)
    assert area_of("0,0.25,1,0.5") == (0, 0.25, 1, 0.5)
    assert area_of("mask.png") is None
    with pytest.raises(InputError, match="is no area"):
        area_of("0.5,0,0.2,1")
    assert parse_region("a fox @ home@right") == ("a fox @ home", "right")
    with pytest.raises(InputError, match="is not a prompt and a mask"):
        parse_region("a fox")
    with pytest.raises(InputError, match="names a LoRA"):
        parse_region("a fox <lora:x:1>@left")


@pytest.mark.usefixtures("latents_only")
def test_a_region_of_everything_is_its_prompt_and_of_nothing_is_the_main_prompt(
    animator: Animator, request_of: AnimationRequest
) -> None:
    fox = animator.animate(request_of).latents
    ox = animator.animate(request_of, prompt="an ox").latents
    everywhere = animator.animate(request_of, regions=("an ox@0,0,1,1",)).latents
    assert torch.allclose(everywhere, ox, atol=1e-4)
    half = animator.animate(request_of, regions=("an ox@left",)).latents
    for whole in (fox, ox):
        assert not torch.allclose(half, whole, atol=1e-3)


def test_a_mask_that_moves_counts_in_its_frames(
    animator: Animator, request_of: AnimationRequest, tmp_path: Path
) -> None:
    """Without motion, a frame whose mask is black is as the main prompt draws it."""
    frames = np.zeros((3, 32, 32, 3), np.uint8)
    frames[1] = 255
    path = Video(frames, Fraction(8)).save(tmp_path / "mask.apng")
    asked = replace(request_of, motion_effect=("0",), regions=(f"an ox@{path}",))
    made = animator.animate(asked)
    fox = animator.animate(request_of, motion_effect=("0",)).latents
    ox = animator.animate(request_of, motion_effect=("0",), prompt="an ox").latents
    assert torch.allclose(made.latents[:, :, [0, 2]], fox[:, :, [0, 2]], atol=1e-4)
    assert torch.allclose(made.latents[:, :, 1], ox[:, :, 1], atol=1e-4)
    stored = load_request(made.save(tmp_path / "made.apng"))
    assert stored.regions == (f"an ox@{path}",)
    assert "region:1" in made.report.sha256s


@pytest.mark.usefixtures("latents_only")
def test_the_negative_prompt_travels_too(animator: Animator, request_of: AnimationRequest) -> None:
    fixed = animator.animate(request_of, negative_prompt="an ox").latents
    same = animator.animate(request_of, negative_prompts={"0": "an ox", "2": "an ox"}).latents
    assert torch.allclose(same, fixed, atol=1e-4)
    travelling = animator.animate(request_of, negative_prompts={"0": "an ox", "2": "a cat"})
    assert not torch.allclose(travelling.latents, fixed, atol=1e-4)
    assert travelling.request.negative_prompts == {"0": "an ox", "2": "a cat"}
    # In the first frame without motion, the first text holds alone.
    still = {"motion_effect": ("0",), "interpolation": "step"}
    one = animator.animate(request_of, negative_prompt="an ox", **still).latents
    two = animator.animate(
        request_of,
        negative_prompts={"0": "an ox", "2": "a cat"},
        **still,
    ).latents
    assert torch.allclose(one[:, :, :2], two[:, :, :2], atol=1e-4)
    assert not torch.allclose(one[:, :, 2], two[:, :, 2], atol=1e-4)
