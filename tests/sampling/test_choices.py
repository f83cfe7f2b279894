"""What is not asked for follows the motion module: frames, size, steps; and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.weights import synthetic

from animatediff.apps.render import choices
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.motion import read_motion


@pytest.mark.parametrize(
    ("name", "family", "frames", "size"),
    [
        ("motion-v1", "auto", 16, 512),
        ("motion-v2", "auto", 16, 512),
        ("motion-v3", "auto", 16, 512),
        ("motion-sdxl", "auto", 16, 1024),
        ("motion-hotshot", "auto", 8, 512),
        ("motion-long", "auto", 64, 512),
        ("motion-v2", "longanimatediff", 32, 512),
    ],
)
def test_a_clip_is_as_long_and_wide_as_the_module_was_trained_on(
    name: str, family: str, frames: int, size: int, tmp_path: Path
) -> None:
    path = synthetic.write(tmp_path / "motion.safetensors", name)
    module = read_motion(path, family=family)
    assert (module.family.num_frames, module.family.size) == (frames, size)
    assert module.family.num_frames <= module.rows == module.family.position_rows


@pytest.mark.parametrize(
    ("family", "frames"), [("emoji", 16), ("v2", 16), ("animatelcm", 16), ("longanimatediff", 64)]
)
def test_frames_that_are_not_asked_for_are_the_familys(
    family: str, frames: int, tiny_world: Path, tiny_motion: Path
) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion), family=family)
    request = AnimationRequest(
        prompt="a fox", model=str(tiny_world), motion=str(tiny_motion), family=family
    )
    chosen = animator.resolved(request)
    assert (chosen.num_frames, chosen.width, chosen.height) == (frames, 32, 32)
    assert chosen.steps == animator.family.steps
    begun = " from a still (strength 0.9)" if family == "emoji" else ""
    assert choices(chosen).startswith(f"{frames} frames of 32x32 at 8 a second{begun}, ")
    asked = animator.resolved(AnimationRequest(**{**vars(request), "num_frames": 3}))
    assert asked.num_frames == 3
    assert AnimationRequest.from_json(chosen.to_json()) == chosen


def test_without_a_motion_module_a_clip_has_sixteen_frames(tiny_world: Path) -> None:
    animator = Animator.load(str(tiny_world), motion="none")
    request = AnimationRequest(prompt="a fox", model=str(tiny_world), motion="none")
    assert animator.resolved(request).num_frames == 16
