"""The package's own SparseCtrl network, which follows a picture or the still of an animation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.loaded.loading import Loaded
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")

SHORT = AnimationRequest("a fox", num_frames=2, steps=2, scheduler="ddim", upscale=1)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator.load("emoji")


@pytest.fixture(scope="module")
def still() -> torch.Tensor:
    alone = Animator.load("emoji", motion="none")
    return alone.animate(replace(SHORT, num_frames=1)).latents


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An orange disc on white."""
    y, x = np.mgrid[:128, :128] - 64
    disc = np.where((x**2 + y**2 < 40**2)[..., None], np.uint8([240, 140, 20]), np.uint8(255))
    path = tmp_path / "disc.png"
    Image.fromarray(disc.astype(np.uint8)).save(path)
    return path


def test_frames_keep_more_of_their_still_and_still_differ(
    animator: Animator, still: torch.Tensor
) -> None:
    away: list[torch.Tensor] = []
    for strength in (0.0, 1.0):
        drawn = animator.animate(replace(SHORT, picture_strength=strength)).latents
        away.append((drawn - still).square().mean())
        assert (drawn[:, :, 1:] - drawn[:, :, :1]).abs().max() > 0.01
    assert away[1] < 0.9 * away[0]


def test_a_second_pass_at_a_larger_size_follows_the_still_too(
    animator: Animator, still: torch.Tensor
) -> None:
    """At a strength of 1 it begins from noise, and only the network can keep it near the still."""
    large = replace(SHORT, hires=1.25, hires_strength=1.0)
    away: list[torch.Tensor] = []
    for strength in (0.0, 1.0):
        drawn = animator.animate(replace(large, picture_strength=strength)).latents
        smaller = torch.nn.functional.interpolate(drawn[0], size=still.shape[-2:], mode="area")
        away.append((smaller - still[0]).square().mean())
    assert away[1] < 0.9 * away[0]


def test_a_picture_is_followed_from_frame_0(animator: Animator, picture: Path) -> None:
    drawn = animator.animate(replace(SHORT, image=str(picture)))
    assert drawn.request.controls == ("pictures:1",)
    assert any("SparseCtrl" in note for note in drawn.report.notes)
    left = animator.animate(replace(SHORT, image=str(picture), picture_strength=0))
    assert not left.request.controls
    assert any("blended" in note for note in left.report.notes)


def test_a_settled_request_draws_the_same_again(animator: Animator) -> None:
    drawn = animator.animate(replace(SHORT, picture_strength=0.5))
    assert drawn.request.controls == ("pictures:0.5",)
    again = animator.animate(drawn.request)
    fresh = Animator.for_request(drawn.request).animate(drawn.request)
    assert torch.equal(drawn.latents, again.latents)
    assert torch.equal(drawn.latents, fresh.latents)
    assert Loaded.of(drawn.request) == Loaded.of(SHORT)


def test_only_animations_that_use_it_name_its_file(animator: Animator) -> None:
    used = animator.animate(replace(SHORT, picture_strength=1)).report.sha256s
    unused = animator.animate(SHORT).report.sha256s
    assert used.keys() - unused.keys() == {"control:pictures"}


@pytest.mark.parametrize(
    "asked",
    [
        {"motion_loras": ("pan-left:1",)},
        {"controls": ("edges",), "control_inputs": ("edges.mp4",)},
        {"image": "fox.png", "image_way": "blend"},
        {"image": "fox.png", "image_power": 0.5},
        {"motion": "none"},
        {"picture_strength": 0.0},
    ],
)
def test_requests_that_say_otherwise_do_not_load_it(asked: Mapping[str, object]) -> None:
    request = replace(SHORT, **asked)  # pyright: ignore[reportArgumentType] - by name
    assert Loaded.of(request).own_network == ""


def test_a_strength_without_use_is_refused(animator: Animator) -> None:
    with pytest.raises(InputError, match="nothing begins with a picture"):
        animator.resolved(replace(SHORT, from_still=1, picture_strength=0.5))
    placed = Animator.load("emoji", motion_loras=["pan-left:1"])
    with pytest.raises(InputError, match="for the built-in model alone"):
        placed.resolved(replace(SHORT, picture_strength=0.5))


def test_stored_requests_from_before_do_not_follow_their_still() -> None:
    table = AnimationRequest("a fox").as_table()
    del table["picture_strength"]
    assert AnimationRequest.from_table(table).picture_strength == 0
