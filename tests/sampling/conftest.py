"""A tiny world that animates, and a request for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest


@pytest.fixture(scope="module")
def animator(tiny_world: Path, tiny_motion: Path) -> Animator:
    return Animator.load(str(tiny_world), motion=str(tiny_motion))


@pytest.fixture(scope="session")
def request_of(tiny_world: Path, tiny_motion: Path) -> AnimationRequest:
    return AnimationRequest(  # from noise: a still has tests of its own
        from_still=1.0,
        prompt="a fox",
        model=str(tiny_world),
        motion=str(tiny_motion),
        num_frames=3,
        steps=2,
        guidance=3.0,
        seed=5,
    )
