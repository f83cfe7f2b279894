"""Views and FreeNoise, from a request to what is drawn."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from animatediff.model.fast.few_frames import few_frames
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.free_noise import repeated_order, rescheduled
from animatediff.sampling.steps.noise import initial_noise


def test_windows_inside_attention_draw_all_frames_of_a_clip_at_once(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, num_frames=6, window_length=3, window_overlap=1)
    given: list[int] = []
    hook = animator.base.unet.conv_in.register_forward_pre_hook(
        lambda _, inputs: given.append(len(inputs[0]))
    )
    inside = animator.animate(asked, windows_in="attention", steps=1)
    assert given == [6, 6]  # without and with the prompt
    given.clear()
    around = animator.animate(asked, windows_in="model", steps=1)
    hook.remove()
    assert set(given) == {6}
    assert not torch.allclose(inside.latents, around.latents, atol=1e-4)
    assert any("attended in" in note for note in inside.report.notes)
    whole = replace(request_of, windows_in="attention")
    assert torch.equal(animator.animate(whole).latents, animator.animate(request_of).latents)


def test_views_go_around_the_end_of_a_loop(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, num_frames=6, window_length=4, loop=True, windows_in="attention")
    made = animator.animate(asked).latents
    assert made.isfinite().all()
    assert not torch.allclose(made, animator.animate(replace(asked, loop=False)).latents, atol=1e-4)


def test_free_noise_shuffles_the_first_window_by_strides() -> None:
    noise = initial_noise(3, num_frames=15, channels=2, height=2, width=2)
    made = rescheduled(noise, window=6, stride=2, seed=3)
    assert torch.equal(made[:, :, :6], noise[:, :, :6])
    first = [noise[0, :, frame].flatten().tolist() for frame in range(6)]
    names = [first.index(made[0, :, frame].flatten().tolist()) for frame in range(15)]
    for start in range(0, 9, 2):
        # Every window holds the noise of the first one, each frame's once.
        assert sorted(names[start : start + 6]) == list(range(6))
    assert torch.equal(rescheduled(noise, window=6, stride=2, seed=3), made)
    assert not torch.equal(rescheduled(noise, window=6, stride=2, seed=4), made)
    assert torch.equal(rescheduled(noise, window=15, stride=2, seed=3), noise)


@pytest.mark.parametrize(("window", "stride"), [(16, 4), (16, 8), (16, 2), (32, 8)])
def test_neighbours_of_two_strides_are_as_near_in_the_first_window_as_those_of_one(
    window: int, stride: int
) -> None:
    orders = [repeated_order(160, window=window, stride=stride, seed=seed) for seed in range(10)]
    for order in orders:
        apart = [abs(one - other) % window for one, other in pairwise(order)]
        assert max(min(each, window - each) for each in apart) <= max(2, stride - 1)
    assert len({tuple(order) for order in orders}) == len(orders)


def test_free_noise_is_for_clips_longer_than_a_window(
    animator: Animator, request_of: AnimationRequest
) -> None:
    plain = animator.animate(request_of).latents
    assert torch.equal(animator.animate(request_of, noise="freenoise").latents, plain)
    long = replace(request_of, num_frames=6, window_length=3, windows_in="attention")
    drawn = animator.animate(long).latents
    assert torch.equal(animator.animate(long, noise="freenoise").latents, drawn)
    independent = animator.animate(long, noise="independent", window_overlap=1).latents
    assert not torch.allclose(independent, drawn, atol=1e-4)


@pytest.fixture(scope="module")
def few_seen(request_of: AnimationRequest) -> AnimationRequest:
    """Six frames of which motion modules see three."""
    return replace(request_of, num_frames=6, window_length=3, windows_in="attention", steps=2)


@pytest.fixture(scope="module")
def plain(animator: Animator, few_seen: AnimationRequest) -> Tensor:
    return animator.animate(few_seen).latents


@pytest.mark.parametrize(
    "changes",
    [
        {"prompts": {"0": "a fox", "5": "a cat"}},
        {"perturbed_attention": 1.0},
        {"free_u": "v2"},
        {"guidance": 1.0},
        {"guidance_method": "cfg++", "guidance": 0.6},
        {"scheduler": "lcm"},
        {"free_init": 2},
        {"loop": True},
        {"hires": 2.0},
        {"motion_scale": ("1.2",)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_works_around_the_model_works_inside_attention_some_frames_at_a_time(
    animator: Animator,
    few_seen: AnimationRequest,
    plain: Tensor,
    changes: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = replace(few_seen, **changes)
    whole = animator.animate(asked).latents
    monkeypatch.setitem(few_frames.__kwdefaults__, "together", 2)
    few = animator.animate(asked).latents
    # Steps and guidance make rounding larger.
    assert (few - whole).abs().max() < 1e-3 * whole.abs().max()
    if few.shape == plain.shape:
        assert not torch.allclose(few, plain, atol=1e-3)
