"""FreeInit keeps the slow parts of a clip, takes the fast ones from fresh noise, and draws again."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from diffusers.pipelines.free_init_utils import FreeInitMixin
from torch import Tensor

from animatediff.apps.render import choices
from animatediff.errors import InputError
from animatediff.sampling.animator import Animator, Progress
from animatediff.sampling.infotext import infotext
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.free_init import begun_again, in_rounds, low_pass


def wave(f: int, y: int, x: int) -> Tensor:
    """One frequency alone: so many periods over 8 frames, and 8 pixels down and across."""
    t = torch.arange(8) * 2 * math.pi / 8
    phase = f * t[:, None, None] + y * t[:, None] + x * t
    return phase.cos()[None, None]


@pytest.mark.parametrize("shape", [(16, 8, 8), (8, 6, 10)])
def test_the_filter_is_diffusers_(shape: tuple[int, int, int]) -> None:
    theirs = FreeInitMixin()._get_free_init_freq_filter(
        (1, 4, *shape), "cpu", "butterworth", 4, 0.25, 0.25
    )
    ours = torch.fft.fftshift(low_pass(*shape), dim=(0, 1))
    half = shape[2] // 2
    assert torch.allclose(ours[..., :half], theirs[0, 0, ..., half:].float(), atol=1e-6)


def test_slow_parts_are_kept_and_fast_ones_are_fresh() -> None:
    slow, fast = wave(0, 0, 0), wave(4, 3, 2)
    mixed = begun_again(2 * slow + 3 * fast, 5 * slow + 7 * fast)
    assert torch.allclose(mixed, 2 * slow + 7 * fast, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 5, 7), (3, 4, 4)])
def test_any_number_of_frames_keeps_its_mean_and_its_shape(shape: tuple[int, int, int]) -> None:
    kept, fresh = (
        torch.randn(1, 2, *shape, generator=torch.Generator().manual_seed(s)) for s in (1, 2)
    )
    mixed = begun_again(kept, fresh)
    assert mixed.shape == kept.shape
    assert torch.allclose(mixed.mean((2, 3, 4)), kept.mean((2, 3, 4)), atol=1e-6)


def test_each_round_begins_with_the_noised_clip_of_the_last_and_the_first_noise() -> None:
    noise = torch.zeros(1, 1, 4, 4, 4)
    asked: list[tuple[float, float]] = []

    def noised(latents: Tensor, first: Tensor) -> Tensor:
        asked.append((latents.mean().item(), first.mean().item()))
        return latents

    made = in_rounds(
        noise,
        rounds=3,
        draw=lambda start, number: start + 1 + 10 * number,
        noised=noised,
        fresh=lambda number: torch.full_like(noise, 100.0 * number),
    )
    assert asked == [(1.0, 0.0), (pytest.approx(12.0), 0.0)]
    assert made.mean().item() == pytest.approx(12 + 21)


def test_an_animation_of_two_rounds_is_another_one_and_always_the_same(
    animator: Animator, request_of: AnimationRequest
) -> None:
    told: list[Progress] = []
    asked = replace(request_of, steps=2, free_init=2)
    twice = [animator.animate(asked, on_step=told.append) for _ in range(2)]
    once = animator.animate(replace(asked, free_init=1))
    assert torch.equal(twice[0].latents, twice[1].latents)
    assert not torch.equal(twice[0].latents, once.latents)
    denoised = [(p.step, p.steps) for p in told if p.stage == "denoise"]
    assert denoised == 2 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    said = [infotext(made.request, made.report) for made in (twice[0], once)]
    assert ["freeinit_enable: True" in text for text in said] == [True, False]
    assert " in 2 rounds, " in choices(twice[0].request)


@pytest.mark.parametrize("rounds", [0, 11, 1.5])
def test_a_number_of_rounds_that_is_none_is_refused(rounds: int) -> None:
    with pytest.raises(InputError, match="free_init"):
        AnimationRequest("a fox", free_init=rounds).validated()
