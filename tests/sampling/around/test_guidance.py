"""Classifier-free guidance: what is asked of the model, and how two predictions become one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from animatediff.sampling.animator import Animator
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.around.while_noisy import while_noisy
from animatediff.sampling.ask import BOTH, WITH_PROMPT, Ask, PredictNoise
from animatediff.sampling.request import AnimationRequest


@pytest.fixture
def ask() -> Ask:
    latents = torch.randn(1, 4, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    return Ask(latents, torch.tensor(500), 7, WITH_PROMPT, torch.arange(3))


def rows_apart(ask: Ask) -> Tensor:
    """1 without the prompt, 3 with it, plus the latents."""
    rows = torch.tensor([1.0, 3.0])[ask.rows].to(ask.latents)
    return ask.latents + rows[:, None, None, None, None]


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (7.5, 16.0), (-1.0, -1.0)]
)
def test_the_difference_between_the_rows_counts_as_often_as_the_scale_says(
    ask: Ask, scale: float, expected: float
) -> None:
    made = guided(rows_apart, guidance=classifier_free(scale))(ask)
    assert torch.allclose(made, ask.latents + expected, atol=1e-5)
    assert made.shape == ask.latents.shape


def test_both_rows_are_one_question_about_the_same_latents_step_and_frames(ask: Ask) -> None:
    asked: list[Ask] = []

    def predict(ask: Ask) -> Tensor:
        asked.append(ask)
        return ask.latents

    guided(predict, guidance=classifier_free(3.0))(ask)
    (both,) = asked
    assert both.rows == BOTH
    assert torch.equal(both.latents, torch.cat([ask.latents, ask.latents]))
    assert (both.timestep, both.step) == (ask.timestep, ask.step)
    assert torch.equal(both.frames, ask.frames)


def test_equal_predictions_stay_what_they_are_at_any_scale(ask: Ask) -> None:
    made = guided(lambda ask: ask.latents, guidance=classifier_free(12.0))(ask)
    assert torch.equal(made, ask.latents)


def test_where_noise_is_low_the_other_wrapper_applies(ask: Ask) -> None:
    def plus(number: float):
        def around(predict: PredictNoise) -> PredictNoise:
            return lambda ask: predict(ask) + number

        return around

    def plain(ask: Ask) -> Tensor:
        return torch.zeros_like(ask.latents)

    predict = while_noisy(plus(1.0), least=400, then=plus(10.0))(plain)
    for timestep, expected in ((999, 1), (400, 1), (399, 10), (0, 10)):
        made = predict(replace(ask, timestep=torch.tensor(timestep)))
        assert (made == expected).all(), timestep
    assert (while_noisy(plus(1.0), least=501)(plain)(ask) == 0).all()


def test_a_scale_of_one_predicts_a_single_clip_and_ignores_the_negative_prompt(
    animator: Animator, request_of: AnimationRequest
) -> None:
    given: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        given.append(len(inputs[0]))

    hook = animator.base.unet.conv_in.register_forward_pre_hook(note)
    asked = replace(request_of, guidance=1.0, steps=1, scheduler="ddim")
    plain = animator.animate(asked).latents
    negative = animator.animate(replace(asked, negative_prompt="an ox")).latents
    hook.remove()
    assert given == [3, 3]
    assert torch.equal(plain, negative)
    # Just beside 1 both clips count, and the result is next to that of one.
    beside = animator.animate(replace(asked, guidance=1.0001)).latents
    assert not torch.equal(beside, plain)
    assert torch.allclose(beside, plain, atol=1e-2)
