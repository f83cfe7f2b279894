"""The denoising loop: which questions it asks, when it stops, and what it refuses to go on from."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from animatediff.errors import Cancelled, NumericalError
from animatediff.sampling.ask import WITH_PROMPT, Ask, PredictNoise
from animatediff.sampling.steps.denoise import check_finite, denoise
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import Betas

STEPS, FRAMES = 4, 3


@pytest.fixture
def noise() -> Tensor:
    return torch.randn(1, 4, FRAMES, 2, 2, generator=torch.Generator().manual_seed(0))


def sampler(name: str = "ddim") -> Sampler:
    return Sampler(
        SAMPLERS[name],
        betas=Betas(),
        prediction="epsilon",
        steps=STEPS,
        seed=0,
        device=torch.device("cpu"),
    )


def run(
    latents: Tensor,
    predict_noise: PredictNoise,
    *,
    first: int = 0,
    walk: Sampler | None = None,
    on_step: Callable[[int, Tensor], None] = lambda step, guess: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Tensor:
    return denoise(
        latents,
        first=first,
        predict_noise=predict_noise,
        sampler=walk or sampler(),
        on_step=on_step,
        should_stop=should_stop,
    )


def zeros(ask: Ask) -> Tensor:
    return torch.zeros_like(ask.latents)


@pytest.mark.parametrize("first", [0, 1, STEPS - 1])
def test_the_model_is_asked_once_a_step_for_every_frame(noise: Tensor, first: int) -> None:
    asks: list[Ask] = []

    def predict(ask: Ask) -> Tensor:
        asks.append(ask)
        return zeros(ask)

    run(noise, predict, first=first)
    assert [ask.step for ask in asks] == list(range(first, STEPS))
    assert [int(ask.timestep) for ask in asks] == [751, 501, 251, 1][first:]
    assert all(ask.frames.tolist() == list(range(FRAMES)) for ask in asks)
    assert all(ask.rows == WITH_PROMPT for ask in asks)
    assert torch.equal(asks[0].latents, noise)


def test_the_model_sees_latents_at_the_scale_it_was_trained_at(noise: Tensor) -> None:
    """Euler's latents have a standard deviation of many; the model was trained on 1."""
    seen: list[Tensor] = []

    def predict(ask: Ask) -> Tensor:
        seen.append(ask.latents)
        return zeros(ask)

    walk = sampler("euler")
    latents, _ = walk.start(noise)
    run(latents, predict, walk=walk)
    assert latents.std() > 10
    assert seen[0].std() == pytest.approx(1.0, abs=0.2)


def test_steps_are_counted_from_one_and_the_last_guess_is_the_result(noise: Tensor) -> None:
    told: list[tuple[int, Tensor]] = []
    made = run(noise, zeros, on_step=lambda step, guess: told.append((step, guess)))
    assert [step for step, _ in told] == [1, 2, 3, 4]
    assert all(guess.shape == noise.shape for _, guess in told)
    assert torch.equal(told[-1][1], made)


def test_with_no_step_left_to_take_the_latents_are_the_result(noise: Tensor) -> None:
    made = run(noise, lambda ask: pytest.fail("nothing is to be predicted"), first=STEPS)
    assert torch.equal(made, noise)


@pytest.mark.parametrize("after", range(STEPS))
def test_it_stops_before_the_next_step_when_it_is_told(noise: Tensor, after: int) -> None:
    done: list[int] = []

    def predict(ask: Ask) -> Tensor:
        assert ask.step < after, "it went on"
        return zeros(ask)

    with pytest.raises(Cancelled, match=rf"^Cancelled after {after} of 4 steps\.$"):
        run(
            noise,
            predict,
            on_step=lambda step, guess: done.append(step),
            should_stop=lambda: len(done) == after,
        )
    assert done == list(range(1, after + 1))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("at", [0, 2])
def test_a_number_that_overflows_is_named_with_its_step(noise: Tensor, at: int, bad: float) -> None:
    told: list[int] = []

    def predict(ask: Ask) -> Tensor:
        answer = zeros(ask)
        if ask.step == at:
            answer[0, 1, 2, 0, 1] = bad  # one number of one frame is enough
        return answer

    with pytest.raises(NumericalError, match=rf"in denoising step {at + 1} of 4; use precision"):
        run(noise, predict, on_step=lambda step, guess: told.append(step))
    assert told == list(range(1, at + 1))


def test_large_numbers_are_finite() -> None:
    check_finite(torch.full((2,), torch.finfo(torch.float32).max), when="here")
    with pytest.raises(NumericalError, match="overflowed here"):
        check_finite(torch.full((2,), torch.finfo(torch.float32).max) * 2, when="here")
