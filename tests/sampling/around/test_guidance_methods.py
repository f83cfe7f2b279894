"""CFG++ and dynamic guidance equal their papers' steps, written out in a few lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.animator import Animator
from animatediff.sampling.around.cfg_plus_plus import renoised_without
from animatediff.sampling.around.dynamic_guidance import by_range
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import Betas

pytestmark = pytest.mark.usefixtures("latents_only")


def sampler(name: Any, *, prediction: str = "epsilon", steps: int = 7) -> Sampler:
    return Sampler(
        SAMPLERS[name],
        betas=Betas(),
        prediction=prediction,
        steps=steps,
        seed=0,
        device=torch.device("cpu"),
    )


def clips(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    latents, without, along = torch.randn(
        3, 1, 4, 3, 8, 8, generator=torch.Generator().manual_seed(seed)
    )
    return latents, without, without + 0.3 * along


@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_cfg_plus_plus_is_the_papers_step_of_ddim(scale: float) -> None:
    """Algorithm 2: the picture of the guided prediction, the noise of the one without."""
    walk = sampler("ddim")
    guidance = renoised_without(scale, levels=walk.levels())
    alphas = walk.scheduler.alphas_cumprod.double()
    for step, time in enumerate(walk.timesteps):
        latents, without, along = clips(step)
        now = alphas[time]
        last = int(time) - 1000 // 7
        then = alphas[last] if last >= 0 else torch.tensor(1.0)
        mixed = without + scale * (along - without)
        clean = (latents - (1 - now).sqrt() * mixed) / now.sqrt()
        expected = then.sqrt() * clean + (1 - then).sqrt() * without
        ask = Ask(latents, time, step, WITH_PROMPT, torch.arange(3))
        made, _ = walk.step(guidance(without, along, ask), time, latents, step)
        assert torch.allclose(made.double(), expected.double(), atol=1e-5)


@pytest.mark.parametrize("name", ["euler", "euler-karras", "euler-trailing"])
def test_cfg_plus_plus_is_the_papers_step_of_euler(name: str) -> None:
    walk = sampler(name)
    guidance = renoised_without(0.6, levels=walk.levels())
    sigmas = walk.scheduler.sigmas.double()
    for step, time in enumerate(walk.timesteps):
        latents, without, along = clips(step)
        seen = walk.seen(latents, time)
        clean = latents - sigmas[step] * (without + 0.6 * (along - without))
        expected = clean + sigmas[step + 1] * without
        made, _ = walk.step(
            guidance(without, along, Ask(seen, time, step, WITH_PROMPT, torch.arange(3))),
            time,
            latents,
            step,
        )
        assert torch.allclose(made, expected.float(), atol=1e-5, rtol=1e-5)


def reference(latents: Tensor, without: Tensor, along: Tensor, kept: Tensor, cfg: float) -> Tensor:
    """Automatic CFG, one frame and channel at a time."""
    made = torch.empty_like(without)
    clean = (latents - (1 - kept).sqrt() * (without + 8 * (along - without))) / kept.sqrt()
    for channel in range(4):
        for frame in range(3):
            plane = clean[0, channel, frame]
            count = plane.shape[0] // 4
            high = sum(sorted(row.tolist())[-i - 1] for row in plane for i in range(count))
            low = sum(abs(sorted(row.tolist())[i]) for row in plane for i in range(count))
            found = (high + low) / 2 / (count * len(plane))
            u, c = without[0, channel, frame], along[0, channel, frame]
            made[0, channel, frame] = u + 8 * (cfg / 10) / found * (c - u)
    return made


@pytest.mark.parametrize("cfg", [1.0, 9.0])
@pytest.mark.parametrize("time", [900, 30])
def test_dynamic_guidance_is_automatic_cfg(cfg: float, time: int) -> None:
    walk = sampler("ddim")
    latents, without, along = clips()
    ask = Ask(latents, torch.tensor(time), 0, WITH_PROMPT, torch.arange(3))
    made = by_range(cfg, picture=walk.picture)(without, along, ask)
    expected = reference(latents, without, along, walk.scheduler.alphas_cumprod[time], cfg)
    assert torch.allclose(made, expected, atol=1e-5)


def test_the_picture_of_a_velocity_is_that_of_its_noise() -> None:
    noise_walk, velocity_walk = sampler("ddim"), sampler("ddim", prediction="v_prediction")
    time = torch.tensor(500)
    kept = noise_walk.scheduler.alphas_cumprod[500]
    clean, noise, _ = clips()
    seen = kept.sqrt() * clean + (1 - kept).sqrt() * noise
    velocity = kept.sqrt() * noise - (1 - kept).sqrt() * clean
    assert torch.allclose(noise_walk.picture(seen, noise, time), clean, atol=1e-5)
    assert torch.allclose(velocity_walk.picture(seen, velocity, time), clean, atol=1e-5)


def test_plain_guidance_is_the_default_and_others_draw_something_else(
    animator: Animator, request_of: AnimationRequest
) -> None:
    asked = replace(request_of, scheduler="ddim")
    plain = animator.animate(asked)
    named = animator.animate(asked, guidance_method="plain")
    assert torch.equal(named.latents, plain.latents)
    renoised = animator.animate(asked, guidance=None, guidance_method="cfg++")
    assert renoised.request.guidance == 0.6
    dynamic = animator.animate(asked, guidance_method="dynamic")
    for other in (renoised, dynamic):
        assert other.latents.isfinite().all()
        assert not torch.equal(other.latents, plain.latents)
    left = animator.animate(
        replace(request_of, scheduler=None, guidance=None, guidance_method="cfg++")
    )
    assert left.request.scheduler in ("ddim", "euler")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"guidance_method": "cfg++", "guidance": 7.5},
            "With cfg[+][+] the guidance scale is 0 to 1",
        ),
        (
            {"guidance_method": "cfg++", "guidance": 0.6, "scheduler": "unipc"},
            "not for unipc; use --scheduler ddim or euler",
        ),
        ({"guidance_method": "dynamic", "perturbed_attention": 3.0}, "not beside dynamic"),
        ({"guidance_method": "cfgpp"}, "guidance_method = 'cfgpp' is unknown"),
    ],
)
def test_what_does_not_go_together_is_refused(
    request_of: AnimationRequest, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(request_of, **changes).validated()


def test_a_distilled_model_that_is_guided_strongly_says_so(
    animator: Animator, request_of: AnimationRequest
) -> None:
    notes = animator.animate(request_of, scheduler="lcm", guidance=5.0).report.notes
    assert any("overexposes a model that was distilled" in note for note in notes)
    notes = animator.animate(request_of, scheduler="lcm", guidance=1.5).report.notes
    assert not any("overexposes" in note for note in notes)
