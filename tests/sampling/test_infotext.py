"""The infotext of an animation, which A1111 and sd-webui-animatediff paste."""

from __future__ import annotations

from typing import Any

import pytest

from animatediff.sampling.infotext import infotext
from animatediff.sampling.metadata import Report
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.windows.plan import WindowPlan

NAMES = (
    "model video_length fps loop_number closed_loop batch_size stride overlap interp interp_x "
    "freeinit_enable mm_hash"
).split()
"""The items of sd-webui-animatediff, in its order."""


def report(**changes: Any) -> Report:
    facts: dict[str, Any] = {
        "notes": (),
        "family": "v2",
        "windows": WindowPlan(16, length=16, overlap=4),
        "device": "cpu",
        "precision": "fp32",
        "versions": {"animatediff": "1"},
        "template": {},
        "coverage": {},
        "sha256s": {"motion": "69ed0f5fabcd"},
        "seconds": {},
    }
    return Report(**{**facts, **changes})


def request(**changes: Any) -> AnimationRequest:
    facts: dict[str, Any] = {
        "motion": "/models/mm.ckpt",
        "scheduler": "euler",
        "steps": 20,
        "guidance": 7.5,
        "width": 64,
        "height": 64,
        "num_frames": 16,
        "fps": 8,
    }
    return AnimationRequest("a fox", **{**facts, **changes})


def motion_of(text: str) -> dict[str, str]:
    part = text.partition('AnimateDiff: "')[2].partition('"')[0]
    return dict(item.split(": ", 1) for item in part.split(", "))


def test_a_clip_has_the_documented_items_in_their_order() -> None:
    motion = motion_of(infotext(request(), report()))
    assert list(motion) == NAMES
    assert motion == {
        "model": "mm.ckpt",
        "video_length": "16",
        "fps": "8",
        "loop_number": "0",
        "closed_loop": "N",
        "batch_size": "16",
        "stride": "1",
        "overlap": "-1",
        "interp": "Off",
        "interp_x": "10",
        "freeinit_enable": "False",
        "mm_hash": "69ed0f5f",
    }


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"loop": True}, {"closed_loop": "A"}),
        ({"prompts": {"0": "x", "8": "y"}, "closed_loop": True}, {"closed_loop": "R+P"}),
        ({"interpolate": 3}, {"interp": "FILM", "interp_x": "3"}),
        ({"free_init": 2}, {"freeinit_enable": "True"}),
        ({"fps": "24000/1001"}, {"fps": "23.976"}),
        (
            {"image": "a.png", "image_way": "blend", "image_power": 2.0},
            {"latent_power": "2", "latent_scale": "32"},
        ),
    ],
)
def test_what_an_animation_is_made_with_is_in_its_items(
    changes: dict[str, Any], wanted: dict[str, str]
) -> None:
    motion = motion_of(infotext(request(**changes), report()))
    assert {name: motion[name] for name in wanted} == wanted


def test_a_long_clip_names_its_windows() -> None:
    plan = WindowPlan(48, length=8, overlap=2, schedule="uniform", stride=2)
    motion = motion_of(infotext(request(num_frames=48), report(windows=plan)))
    items = ("video_length", "batch_size", "stride", "overlap")
    assert [motion[name] for name in items] == ["48", "8", "2", "2"]


def test_without_a_motion_module_animatediff_is_not_named() -> None:
    assert "AnimateDiff" not in infotext(request(motion="none"), report(family=""))


def test_the_hires_pass_is_the_high_resolution_fix() -> None:
    text = infotext(request(hires=1.5, hires_strength=0.4, hires_by="latent"), report())
    assert "Denoising strength: 0.4, Hires upscale: 1.5, Hires upscaler: Latent" in text
    assert "Hires" not in infotext(request(), report())
