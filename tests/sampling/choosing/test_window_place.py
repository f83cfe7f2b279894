"""Where windows of long clips are: inside attention while memory hardly grows, else not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.window_place import (
    Room,
    chosen_place,
    needs_all_frames,
    room_of,
)
from animatediff.sampling.choosing.windows import with_windows
from animatediff.sampling.request import AnimationRequest

CONFIGS = Path(__file__).parents[2] / "model" / "configs"
LONG: dict[str, Any] = {"num_frames": 20, "window_length": 8}


@pytest.fixture(scope="module")
def sd15() -> AnimatedUNet:
    config: Mapping[str, Any] = json.loads((CONFIGS / "sd15_unet.json").read_text())
    with torch.device("meta"):
        return AnimatedUNet(UNet2DConditionModel(**config)).to(torch.bfloat16)


def place(room: Room | None, *, frames: int, side: int, **changes: Any) -> str:
    request = AnimationRequest("a fox", width=side, height=side, **changes)
    return chosen_place(request, room=room, frames=frames, window=16, unit=8)


def test_what_stable_diffusion_keeps_for_each_latent_pixel(sd15: AnimatedUNet) -> None:
    room = room_of(sd15)
    assert room is not None
    # Three maps of 320 channels and an input of 640 wait; both joined are 960, and the result 320.
    assert room.kept == 3 * 320 + 640 + 960 + 320
    assert room.skips == 320 * 3.25 + 640 * 2.25 / 4 + 1280 * 2.25 / 16 + 1280 * 2 / 64
    assert room.bytes == 2


def test_a_clip_is_inside_attention_until_it_keeps_much_beside_one_window(
    sd15: AnimatedUNet,
) -> None:
    room = room_of(sd15)
    assert place(room, frames=64, side=256) == "attention"
    assert place(room, frames=64, side=512) == "attention"
    assert place(room, frames=256, side=512) == "model"
    assert place(room, frames=64, side=512, hires=2.0) == "model"
    assert place(room, frames=16, side=256) == "model"
    assert place(None, frames=64, side=256) == "model"


def test_control_networks_count_with_their_residuals(sd15: AnimatedUNet) -> None:
    room = room_of(sd15)
    assert room is not None
    plain, steered = (room.of(64, 1024, controlled=each) for each in (False, True))
    assert steered - plain == 64 * 1024 * room.skips * room.bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"init": "fox.mp4"},
        {"image": "fox.png"},
        {"ip_images": ("fox.png",)},
        {"free_u": "v2"},
        {"motion_scale": ("1.2",)},
        {"camera_path": "path.txt"},
        {"controls": ("sparse",), "sparse": ("0:fox.png",)},
    ],
)
def test_what_has_to_see_all_frames_keeps_windows_around_the_model(
    sd15: AnimatedUNet, changes: dict[str, Any]
) -> None:
    room = room_of(sd15)
    assert place(room, frames=64, side=256, **changes) == "model"
    assert place(room, frames=64, side=256, windows_in="attention", **changes) == "attention"


def test_norms_over_all_frames_and_convolutions_have_no_room(sd15: AnimatedUNet) -> None:
    for name, value in (("resnet_norm_scope", "video"), ("branch", "convolution")):
        before = getattr(sd15, name)
        setattr(sd15, name, value)
        assert room_of(sd15) is None
        setattr(sd15, name, before)


def test_a_motion_lora_that_changes_over_frames_has_windows_around_the_model(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, motion_loras=("zoom-in:frames(0=0, 9=1)",), **LONG)
    assert needs_all_frames(asked)
    assert not needs_all_frames(replace(asked, motion_loras=("zoom-in:0.5",)))
    with pytest.raises(InputError, match="write one scale for all frames"):
        with_windows(replace(asked, windows_in="attention"), family=animator.family, moves=True)


def test_the_place_is_stored_and_repeats_the_animation(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, num_frames=6, window_length=4)
    settled = animator.settled(asked)
    assert settled.request.windows_in == "attention"
    assert settled.views is not None
    assert (settled.views.length, settled.views.overlap) == (4, 3)
    made = animator.animate(asked)
    again = animator.animate(made.request)
    assert torch.equal(again.latents, made.latents)
    around = animator.settled(replace(asked, windows_in="model"))
    assert around.views is None
    assert around.windows.overlap == 2


def test_stored_requests_from_before_have_windows_around_the_model() -> None:
    table = AnimationRequest("a fox").as_table()
    assert AnimationRequest.from_table(table).windows_in is None
    del table["windows_in"]
    assert AnimationRequest.from_table(table).windows_in == "model"
