"""The hires pass: a second, larger drawing that begins from the first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest


@pytest.fixture(scope="module")
def animator(tiny_world: Path, tiny_motion: Path) -> Animator:
    return Animator.load(str(tiny_world), motion=str(tiny_motion))


@pytest.mark.parametrize("by", ["pixels", "latent"])
def test_the_second_pass_is_larger_and_begins_from_the_first(animator: Animator, by: str) -> None:
    def drawn(strength: float) -> np.ndarray:
        animation = animator.animate(
            AnimationRequest(
                "a fox",
                num_frames=2,
                steps=4,
                scheduler="ddim",
                hires=1.5,
                hires_strength=strength,
                hires_by="pixels" if by == "pixels" else "latent",
            )
        )
        assert animation.frames.shape == (2, 48, 48, 3)
        assert (animation.request.width, animation.request.hires) == (32, 1.5)
        return animation.frames.astype(float)

    small = animator.animate("a fox", num_frames=2, steps=4, scheduler="ddim")
    pictures = torch.from_numpy(small.frames).permute(0, 3, 1, 2).float()
    larger = torch.nn.functional.interpolate(pictures, size=(48, 48), mode="bilinear")
    start = larger.permute(0, 2, 3, 1).numpy()
    little, whole = drawn(0.25), drawn(1.0)
    assert np.abs(little - start).mean() < np.abs(whole - start).mean()


def test_without_a_second_pass_nothing_changes(animator: Animator) -> None:
    plain = animator.animate("a fox", num_frames=2, steps=1)
    same = animator.animate("a fox", num_frames=2, steps=1, hires=1.0, hires_strength=0.7)
    assert torch.equal(plain.latents, same.latents)


def test_what_cannot_be_is_one_sentence(animator: Animator) -> None:
    with pytest.raises(InputError, match="2048 pixels"):
        animator.resolved(AnimationRequest("a fox", width=1024, hires=4))
    with pytest.raises(InputError, match="out of range"):
        AnimationRequest("a fox", hires=0.5).validated()
