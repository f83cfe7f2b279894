"""Animations that begin from a still of their prompt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from animatediff.errors import Cancelled, InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.still import chosen_from_still
from animatediff.sampling.request import AnimationRequest

pytestmark = pytest.mark.usefixtures("latents_only")

SHORT = AnimationRequest("a fox", num_frames=3, steps=4, scheduler="ddim", upscale=1)


@pytest.fixture(scope="module")
def animator() -> Animator:
    return Animator.load("emoji")


def test_the_built_in_model_begins_from_a_still_and_published_modules_do_not(
    animator: Animator, tiny_world: Path, tiny_motion: Path
) -> None:
    assert animator.resolved(SHORT).from_still == 0.9
    other = Animator.load(str(tiny_world), motion=str(tiny_motion), family="v3")
    assert other.resolved(AnimationRequest("a fox")).from_still == 1


def test_at_the_least_strength_every_frame_is_the_still(animator: Animator) -> None:
    """One step of four is left, at a level where a picture keeps its shapes."""
    still = Animator.load("emoji", motion="none").animate(replace(SHORT, num_frames=1))
    begun = animator.animate(replace(SHORT, num_frames=2, from_still=0.25))
    from_noise = animator.animate(replace(SHORT, num_frames=2, from_still=1))
    near, far = (
        (each.latents - still.latents).square().mean(dim=(0, 1, 3, 4))
        for each in (begun, from_noise)
    )
    assert (near < far / 4).all()


def test_one_begins_from_noise_alone(animator: Animator) -> None:
    """With all steps to take, nothing is left of the still, and none is drawn."""
    short = replace(SHORT, num_frames=2, steps=2)
    stages: list[str] = []
    plain = animator.animate(
        replace(short, from_still=1), on_step=lambda progress: stages.append(progress.stage)
    )
    nearly = animator.animate(replace(short, from_still=0.99))
    assert "still" not in stages
    torch.testing.assert_close(plain.latents, nearly.latents)


def test_frames_with_their_own_prompts_have_their_own_stills(animator: Animator) -> None:
    travel = replace(SHORT, prompts={"0": "a fox", "2": "a rocket"}, from_still=0.25)
    first, _, last = animator.animate(travel).latents.unbind(dim=2)
    rocket = animator.animate(replace(SHORT, prompt="a fox, a rocket", from_still=0.25))
    fox = animator.animate(replace(SHORT, prompt="a fox, a fox", from_still=0.25))
    to_rocket = (last - rocket.latents[:, :, 2]).square().mean()
    to_fox = (last - fox.latents[:, :, 2]).square().mean()
    assert to_rocket < to_fox
    assert (first - fox.latents[:, :, 0]).square().mean() < to_fox


def test_long_animations_begin_from_it_too(animator: Animator) -> None:
    long = animator.animate(replace(SHORT, num_frames=20, from_still=0.25))
    assert (long.latents - long.latents[:, :, :1]).square().mean() < 0.2


def test_it_is_reported_and_can_be_cancelled(animator: Animator) -> None:
    stages: list[str] = []
    with pytest.raises(Cancelled):
        animator.animate(
            SHORT,
            on_step=lambda progress: stages.append(progress.stage),
            should_stop=lambda: len(stages) == 2,
        )
    assert stages == ["still", "still"]


@pytest.mark.parametrize(
    "other",
    [
        {"init": "fox.mp4"},
        {"image": "fox.png"},
        {"free_init": 2},
        {"motion_loras": ("pan-left:1",)},
        {"num_frames": 1},
        {"controls": ("pictures",), "sparse": ("fox.png@0",)},
        {"controls": ("edges", "pictures"), "control_inputs": ("fox.mp4",)},
        {"controls": ("edges",), "control_inputs": ("fox.mp4",), "camera_path": "zoom-in"},
    ],
)
def test_what_else_says_how_it_begins_is_left_alone(other: dict[str, object]) -> None:
    request = replace(AnimationRequest("a fox"), **other)  # pyright: ignore[reportArgumentType] - by name
    assert chosen_from_still(request, usual=0.9, hinted=0.7, moves=True) == 1


def test_with_a_hint_in_every_frame_each_begins_from_its_own_still(
    animator: Animator, tmp_path: Path
) -> None:
    from PIL import Image, ImageDraw

    for number, left in enumerate((10, 60)):
        page = Image.new("RGB", (128, 128))
        ImageDraw.Draw(page).ellipse((left, 30, left + 58, 88), outline="white")
        page.save(tmp_path / f"{number:04d}.png")
    loaded = Animator.load("emoji", controls=["edges"])
    asked = AnimationRequest(
        "a ball",
        num_frames=2,
        steps=4,
        controls=("edges:1",),
        control_inputs=(str(tmp_path),),
        upscale=1,
    )
    assert loaded.resolved(asked).from_still == 0.7
    assert loaded.resolved(replace(asked, from_still=1)).from_still == 1
    assert loaded.resolved(replace(asked, controls=("edges:0",))).from_still == 0.9
    drawn = loaded.animate(replace(asked, from_still=0.25)).latents
    fresh = loaded.animate(replace(asked, controls=("edges:0",), from_still=0.25)).latents
    apart = [(each[:, :, 1] - each[:, :, 0]).abs().mean() for each in (drawn, fresh)]
    assert apart[0] > 2 * apart[1]


def test_two_beginnings_are_refused(animator: Animator) -> None:
    with pytest.raises(InputError, match="--free-init from something else"):
        animator.resolved(replace(SHORT, from_still=0.8, free_init=2))
    both = replace(SHORT, from_still=0.8, free_init=2, sparse=("fox.png@0",))
    with pytest.raises(InputError, match="--free-init from something else"):
        chosen_from_still(both, usual=0.9, hinted=0.7, moves=True)
    with pytest.raises(InputError, match="needs a motion module"):
        Animator.load("emoji", motion="none").resolved(replace(SHORT, from_still=0.8))


def test_stored_requests_from_before_begin_from_noise() -> None:
    table = AnimationRequest("a fox").as_table()
    del table["from_still"]
    assert AnimationRequest.from_table(table).from_still == 1
