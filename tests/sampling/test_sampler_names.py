"""Samplers by the names that people type, and what each computes."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import step_generators
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.sampler_names import SCHEDULER_NAMES, scheduler_named
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import Betas

STEPS = 6


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("Euler a", "euler-a"),
        ("Euler", "euler"),
        ("DPM++ 2M Karras", "dpm++2m-karras"),
        ("DPM++ 2M", "dpm++2m"),
        ("DPM++ 2M SDE Karras", "dpm++2m-sde-karras"),
        ("DPM++ 2M SDE Exponential", "dpm++2m-sde-exponential"),
        ("DPM++ 2M SDE", "dpm++2m-sde"),
        ("DPM++ 2M SGM Uniform", "dpm++2m-trailing"),
        ("DPM++ 3M SDE Karras", "dpm++3m-sde-karras"),
        ("DPM++ SDE Karras", "dpm++sde-karras"),
        ("DPM++ SDE", "dpm++sde"),
        ("Heun", "heun"),
        ("LMS Karras", "lms-karras"),
        ("DPM2", "dpm2"),
        ("DPM2 a Karras", "dpm2-a-karras"),
        ("UniPC", "unipc"),
        ("DDIM", "ddim"),
        ("LCM", "lcm"),
        ("k_euler_ancestral", "euler-a"),
        ("k_dpmpp_2m", "dpm++2m"),
        ("dpmpp_2m_sde_gpu", "dpm++2m-sde"),
        ("dpmpp_sde", "dpm++sde"),
        ("dpm_2_ancestral", "dpm2-a"),
        ("uni_pc_bh2", "unipc"),
        ("euler_ancestral", "euler-a"),
        ("Euler Automatic", "euler"),
        ("nonsense", "nonsense"),
    ],
)
def test_names_of_other_programs_are_understood(typed: str, name: str) -> None:
    assert scheduler_named(typed) == name
    if name in SCHEDULER_NAMES:
        request = AnimationRequest("a fox", scheduler=typed)
        assert request.validated().scheduler == name
        table = {**request.as_table(), "scheduler": typed}
        assert AnimationRequest.from_table(table).scheduler == name


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("PLMS", "dpm++2m"),
        ("DPM fast", "dpm++2m"),
        ("DPM adaptive", "dpm++2m-karras"),
        ("DPM++ 2S a Karras", "dpm++sde-karras"),
        ("Restart", "heun"),
        ("DEIS", "unipc"),
        ("euler_cfg_pp", "--guidance-method cfg++"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(typed: str, nearest: str) -> None:
    with pytest.raises(InputError) as refused:
        AnimationRequest("a fox", scheduler=typed).validated()
    assert nearest in str(refused.value)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    asked = replace(AnimationRequest("a fox"), scheduler="dpm++2m-karas")
    with pytest.raises(InputError, match=r"did you mean dpm\+\+2m-karras\?"):
        asked.validated()


def sampler(name: Any) -> Sampler:
    return Sampler(
        SAMPLERS[name],
        betas=Betas(),
        prediction="epsilon",
        steps=STEPS,
        seed=3,
        device=torch.device("cpu"),
    )


def model(x: Tensor, sigma: float) -> Tensor:
    """The noise in latents at a noise level, as some smooth model predicts it."""
    return torch.tanh(x / math.sqrt(sigma**2 + 1)) * 0.7 + 0.2 * math.sin(sigma)


def drawn(walk: Sampler, levels: list[float], noise: Tensor) -> Tensor:
    """The sampler's result; ``levels`` are those at which it asks the model."""
    latents, _ = walk.start(noise)
    # Some schedulers keep latents of variance 1, others the picture plus noise.
    variance = hasattr(walk.scheduler, "sigmas") and "solver_order" not in walk.scheduler.config
    for index, time in enumerate(walk.timesteps):
        sigma = levels[index]
        walk.seen(latents, time)  # as the loop does; some schedulers look at the step here
        x = latents if variance else latents * math.sqrt(sigma**2 + 1)
        latents, _ = walk.step(model(x, sigma), time, latents, index)
    return latents


def begun(sigmas: list[float], noise: Tensor) -> Tensor:
    return noise * math.sqrt(sigmas[0] ** 2 + 1)


def euler(sigmas: list[float], x: Tensor) -> Tensor:
    for now, then in pairwise(sigmas):
        x = x + (then - now) * model(x, now)
    return x


def heun(sigmas: list[float], x: Tensor) -> Tensor:
    for now, then in pairwise(sigmas):
        slope = model(x, now)
        ahead = x + (then - now) * slope
        if then:
            slope = (slope + model(ahead, then)) / 2
        x = x + (then - now) * slope
    return x


def midpoint(sigmas: list[float], x: Tensor) -> Tensor:
    for now, then in pairwise(sigmas):
        slope = model(x, now)
        if then:
            between = math.exp((math.log(now) + math.log(then)) / 2)
            slope = model(x + (between - now) * slope, between)
        x = x + (then - now) * slope
    return x


def multistep(sigmas: list[float], x: Tensor, *, noises: list[Tensor] | None = None) -> Tensor:
    """DPM-Solver++(2M) of arXiv 2211.01095, Alg. 2, and its SDE form."""
    clean: list[Tensor] = []
    for index, (now, then) in enumerate(pairwise(sigmas)):
        clean.append(x - now * model(x, now))
        if not then:
            return clean[-1]
        h = math.log(now) - math.log(then)
        picture = clean[-1]
        if len(clean) > 1:
            r = (math.log(sigmas[index - 1]) - math.log(now)) / h
            picture = clean[-1] + (clean[-1] - clean[-2]) / (2 * r)
        if noises is None:
            x = then / now * x + (1 - math.exp(-h)) * picture
        else:
            fresh = then * math.sqrt(1 - math.exp(-2 * h)) * noises[index]
            x = then / now * math.exp(-h) * x + (1 - math.exp(-2 * h)) * picture + fresh
    return x


def fresh_noises(evaluations: int = STEPS) -> list[Tensor]:
    """The fresh noise of every evaluation, as samplers draw it."""
    return [
        torch.stack(
            [
                torch.randn(4, 4, 4, generator=generator)
                for generator in step_generators(3, step=step, num_frames=2)
            ],
            dim=1,
        )[None]
        for step in range(evaluations)
    ]


def ancestral(sigmas: list[float], x: Tensor, noises: list[Tensor]) -> Tensor:
    """Euler ancestral: down further than asked, and up again by fresh noise."""
    for (now, then), noise in zip(pairwise(sigmas), noises, strict=True):
        up = math.sqrt(then**2 * (now**2 - then**2)) / now
        down = math.sqrt(then**2 - up**2)
        x = x + (down - now) * model(x, now) + up * noise
    return x


def linear_multistep(sigmas: list[float], x: Tensor) -> Tensor:
    """Adams-Bashforth of order 4: the integral of the polynomial through the last slopes."""
    slopes: list[Tensor] = []
    for index, (now, then) in enumerate(pairwise(sigmas)):
        slopes.append(model(x, now))
        last = range(max(0, index - 3), index + 1)
        for place in last:
            basis = np.poly1d([1.0])
            for other in last:
                if other != place:
                    basis *= np.poly1d([1.0, -sigmas[other]]) / (sigmas[place] - sigmas[other])
            whole = basis.integ()
            x = x + float(whole(then) - whole(now)) * slopes[place]
    return x


@pytest.mark.parametrize("name", ["euler-a", "euler-a-trailing"])
def test_ancestral_samplers_are_what_they_are_called(name: str) -> None:
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sigmas = [float(sigma) for sigma in walk.scheduler.sigmas]
    expected = ancestral(sigmas, noise * walk.scheduler.init_noise_sigma, fresh_noises())
    assert torch.allclose(drawn(walk, sigmas, noise), expected, atol=1e-5, rtol=1e-5)


def two_stages(sigmas: list[float], x: Tensor, noises: list[Tensor]) -> Tensor:
    """DPM-Solver++(2S) as an SDE: two evaluations a block, both from where the block began."""
    start, first, began = x, x, sigmas[0]
    for index, (now, then) in enumerate(pairwise(sigmas)):
        picture = x - now * model(x, now)
        if not then:
            return picture
        second = index % 2 == 1 and index < len(sigmas) - 3
        if not second:
            start, first, began = x, picture, now
        h = math.log(began) - math.log(then)
        if second:
            share = (math.log(began) - math.log(now)) / h
            picture = first + (picture - first) / (2 * share)
        kept = 1 - math.exp(-2 * h)
        x = then / began * math.exp(-h) * start + kept * picture
        x = x + then * math.sqrt(kept) * noises[index]
    return x


@pytest.mark.parametrize("name", ["dpm++sde", "dpm++sde-karras"])
def test_singlestep_samplers_are_what_they_are_called(name: str) -> None:
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sigmas = [float(sigma) for sigma in walk.scheduler.sigmas]
    expected = two_stages(sigmas, begun(sigmas, noise), fresh_noises())
    assert torch.allclose(drawn(walk, sigmas, noise), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["lms", "lms-karras"])
def test_linear_multistep_is_what_it_is_called(name: str) -> None:
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sigmas = [float(sigma) for sigma in walk.scheduler.sigmas]
    expected = linear_multistep(sigmas, noise * walk.scheduler.init_noise_sigma)
    assert torch.allclose(drawn(walk, sigmas, noise), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("euler", euler),
        ("euler-karras", euler),
        ("euler-trailing", euler),
        ("heun", heun),
        ("heun-karras", heun),
        ("dpm2", midpoint),
        ("dpm2-karras", midpoint),
    ],
)
def test_samplers_of_noise_levels_are_what_they_are_called(name: str, reference: Any) -> None:
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    every = [float(sigma) for sigma in walk.scheduler.sigmas]
    sigmas = list(dict.fromkeys(every))
    if reference is midpoint:
        between = [math.sqrt(now * then) for now, then in pairwise(sigmas[:-1])]
        asked = [level for pair in zip(sigmas, [*between, 0.0], strict=False) for level in pair][
            :-1
        ]
    else:
        asked = every
    made = drawn(walk, asked, noise)
    expected = reference(sigmas, noise * walk.scheduler.init_noise_sigma)
    assert torch.allclose(made, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "dpm++2m",
        "dpm++2m-karras",
        "dpm++2m-exponential",
        "dpm++2m-trailing",
        "dpm++2m-sde",
        "dpm++2m-sde-karras",
    ],
)
def test_multistep_samplers_are_what_they_are_called(name: str) -> None:
    """With final noise 0 the last step is of first order, as in the reference."""
    walk = sampler(name)
    sigmas = [float(sigma) for sigma in walk.scheduler.sigmas]
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    made = drawn(walk, sigmas, noise)
    noises = fresh_noises() if walk.kind.noisy else None
    expected = multistep(sigmas, begun(sigmas, noise), noises=noises)
    assert torch.allclose(made, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["dpm2-a", "dpm2-a-karras"])
def test_ancestral_midpoints_are_what_they_are_called(name: str) -> None:
    """DPM2 a: a step by the slope at its geometric middle, down further than asked, and up by noise."""
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sigmas = list(dict.fromkeys(float(sigma) for sigma in walk.scheduler.sigmas))
    noises = fresh_noises(2 * STEPS)
    x, asked = noise * walk.scheduler.init_noise_sigma, []
    for index, (now, then) in enumerate(pairwise(sigmas)):
        up = then * math.sqrt(now**2 - then**2) / now
        down = math.sqrt(then**2 - up**2)
        middle = math.sqrt(now * down)
        slope = model(x, now)
        asked.append(now)
        if then:
            slope = model(x + (middle - now) * slope, middle)
            asked.append(middle)
        x = x + (down - now) * slope + up * noises[2 * index + 1]
    assert len(asked) == len(walk.timesteps) == 2 * STEPS - 1
    assert torch.allclose(drawn(walk, asked, noise), x, atol=1e-5, rtol=1e-5)


def test_ddpm_is_the_posterior_of_its_noise_levels() -> None:
    """arXiv 2006.11239, Eq. 6 and 7, from a step to the next one taken."""
    walk = sampler("ddpm")
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    kept = [float(walk.kept_at(time)) for time in walk.timesteps]
    x = noise
    levels = [math.sqrt((1 - share) / share) for share in kept]
    for share, level, after, fresh in zip(
        kept, levels, [*kept[1:], 1.0], fresh_noises(), strict=True
    ):
        predicted = model(x / math.sqrt(share), level)
        picture = (x - math.sqrt(1 - share) * predicted) / math.sqrt(share)
        alpha = share / after
        mean = (math.sqrt(after) * (1 - alpha) * picture + math.sqrt(alpha) * (1 - after) * x) / (
            1 - share
        )
        x = mean + math.sqrt((1 - after) / (1 - share) * (1 - alpha)) * fresh
    assert torch.allclose(drawn(walk, levels, noise), x, atol=1e-5, rtol=1e-5)


def third_order(sigmas: list[float], x: Tensor, noises: list[Tensor]) -> Tensor:
    """DPM++ 3M SDE: the integral of the polynomial through the last three predicted pictures.

    With the half log-SNR as the time, the SDE is ``dx = -2 (x - picture) dt`` plus noise, so the weight
    of the power p of the time since now is the integral of ``2 exp(2 (t - h)) t^p`` from 0 to h; of the
    square, k-diffusion takes half, as the authors of DPM-Solver do.
    """
    pictures: list[Tensor] = []
    times = [-math.log(sigma) for sigma in sigmas[:-1]]
    for index, (now, then) in enumerate(pairwise(sigmas)):
        pictures.append(x - now * model(x, now))
        if not then:
            return pictures[-1]
        h = times[index + 1] - times[index]
        e = math.exp(-2 * h)
        flat, slope, curve = 1 - e, h - (1 - e) / 2, (h**2 - h + (1 - e) / 2) / 2
        step = flat * pictures[-1]
        if 2 <= index < STEPS - 2:  # few steps end at lower order
            a, b = times[index - 1] - times[index], times[index - 2] - times[index]
            one, two = pictures[-2] - pictures[-1], pictures[-3] - pictures[-1]
            square = (two / b - one / a) / (b - a)
            step = step + slope * (one / a - a * square) + curve * square
        elif index:
            a = times[index - 1] - times[index]
            # The second-order step weighs the slope by half a step, as DPM++ 2M SDE.
            step = step + flat * h / 2 * (pictures[-2] - pictures[-1]) / a
        x = then / now * math.exp(-h) * x + step + then * math.sqrt(1 - e) * noises[index]
    return x


@pytest.mark.parametrize("name", ["dpm++3m-sde", "dpm++3m-sde-karras", "dpm++3m-sde-exponential"])
def test_the_third_order_is_what_it_is_called(name: str) -> None:
    walk = sampler(name)
    noise = torch.randn(1, 4, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    sigmas = [float(sigma) for sigma in walk.scheduler.sigmas]
    expected = third_order(sigmas, begun(sigmas, noise), fresh_noises())
    assert torch.allclose(drawn(walk, sigmas, noise), expected, atol=1e-5, rtol=1e-5)
