"""What the model predicts for an ask: its text, and the residuals of every control."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.control.residuals import Residuals
from animatediff.sampling.animator import Animator
from animatediff.sampling.ask import BOTH, WITH_PROMPT, WITHOUT_PROMPT, Ask, Control
from animatediff.sampling.predicting.model_noise import model_noise
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.text.conditions import Conditions, Texts, read_texts

SKIPS = [(32, 4), (32, 4), (32, 2), (64, 2)]
"""Channels and side of the skip connections of the tiny world's U-Net."""


@pytest.fixture
def texts(animator: Animator, request_of: AnimationRequest) -> Texts:
    asked = replace(request_of, negative_prompt="an ox")
    return read_texts(settle(asked, animator.model), base=animator.base, words=())


@pytest.fixture
def ask() -> Ask:
    latents = torch.randn(2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    return Ask(latents, torch.tensor(500), 0, BOTH, torch.arange(3))


def residuals(ask: Ask, *, seed: int, scale: float = 1.0) -> Residuals:
    generator = torch.Generator().manual_seed(seed)
    frames = len(ask.latents) * ask.latents.shape[2]

    def plane(channels: int, side: int) -> Tensor:
        return scale * torch.randn(frames, channels, side, side, generator=generator)

    return Residuals(tuple(plane(*size) for size in SKIPS), plane(64, 2))


def control(seed: int, *, scale: float = 1.0) -> Control:
    return lambda ask: residuals(ask, seed=seed, scale=scale)


@torch.inference_mode()
def predicted(animator: Animator, texts: Texts, ask: Ask, *controls: Control) -> Tensor:
    return model_noise(animator.animated, texts=texts, controls=controls)(ask)


def test_without_controls_and_at_strength_zero_a_prediction_is_the_same_to_the_bit(
    animator: Animator, texts: Texts, ask: Ask
) -> None:
    plain = predicted(animator, texts, ask)
    assert torch.equal(predicted(animator, texts, ask, lambda ask: Residuals()), plain)
    assert torch.equal(predicted(animator, texts, ask, control(1, scale=0.0)), plain)
    assert not torch.allclose(predicted(animator, texts, ask, control(1)), plain, atol=1e-3)


@torch.inference_mode()
def test_residuals_are_summed_and_given_as_diffusers_takes_them(
    animator: Animator, texts: Texts, ask: Ask
) -> None:
    one, two = residuals(ask, seed=1), residuals(ask, seed=2)
    assert one.mid is not None
    assert two.mid is not None
    states, _ = texts.at(ask)
    theirs = animator.base.unet(
        ask.latents.movedim(2, 1).flatten(0, 1),
        500,
        states.repeat_interleave(3, dim=0),
        down_block_additional_residuals=[a + b for a, b in zip(one.skips, two.skips, strict=True)],
        mid_block_additional_residual=one.mid + two.mid,
    ).sample
    ours = predicted(animator, texts, ask, control(1), control(2))
    assert torch.equal(ours.movedim(2, 1).flatten(0, 1), theirs)


def test_a_middle_block_may_be_given_alone_and_skips_too(
    animator: Animator, texts: Texts, ask: Ask
) -> None:
    every = residuals(ask, seed=1)
    assert every.mid is not None
    zero = replace(every, skips=tuple(torch.zeros_like(skip) for skip in every.skips))
    alone = replace(every, skips=())
    assert torch.equal(
        predicted(animator, texts, ask, lambda ask: alone),
        predicted(animator, texts, ask, lambda ask: zero),
    )
    zero = replace(every, mid=torch.zeros_like(every.mid))
    alone = replace(every, mid=None)
    assert torch.equal(
        predicted(animator, texts, ask, lambda ask: alone),
        predicted(animator, texts, ask, lambda ask: zero),
    )


def test_residuals_of_another_image_model_are_refused(
    animator: Animator, texts: Texts, ask: Ask
) -> None:
    short = replace(residuals(ask, seed=1), skips=residuals(ask, seed=1).skips[:3])
    with pytest.raises(InputError, match="3 skip connections, and this one has 4"):
        predicted(animator, texts, ask, lambda ask: short)


def test_an_ask_gets_the_text_of_its_rows_its_frames_and_its_step(ask: Ask) -> None:
    def part(last_step: int) -> Conditions:
        numbers = torch.arange(2 * 3).view(2, 3, 1, 1) + 100.0 * last_step
        return Conditions(
            last_step,
            numbers,
            {"text_embeds": numbers[..., 0], "time_ids": torch.arange(2.0)[:, None]},
        )

    texts = Texts((part(1), part(4)), first_row=0)
    some = replace(ask, latents=ask.latents[:, :, 1:], frames=torch.tensor([1, 2]))
    states, added = texts.at(replace(some, rows=WITH_PROMPT))
    assert states.flatten().tolist() == [104, 105]
    assert added["text_embeds"].flatten().tolist() == [104, 105]
    assert added["time_ids"].flatten().tolist() == [1]
    states, added = texts.at(replace(some, rows=BOTH, step=1))
    assert states.flatten().tolist() == [401, 402, 404, 405]
    assert added["text_embeds"].shape == (4, 1)
    unguided = Texts((Conditions(4, torch.ones(1, 2, 1), {}),), first_row=1)
    assert unguided.at(replace(ask, rows=WITH_PROMPT))[0].shape == (1, 2, 1)
    assert texts.at(replace(ask, rows=WITHOUT_PROMPT))[0].shape == (1, 3, 1, 1)
