"""The parts of image to video: ways, PIA's affinities, blending, and a frame that is held."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.deprecated.pia import pipeline_pia
from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from animatediff.errors import InputError
from animatediff.sampling.ask import WITH_PROMPT, Ask
from animatediff.sampling.image_to_video.affinity import AFFINITIES, affinities
from animatediff.sampling.image_to_video.blend import blended, shares
from animatediff.sampling.image_to_video.known_frame import (
    noise_levels,
    signal,
    with_known_frame,
)
from animatediff.sampling.image_to_video.picture import agreement
from animatediff.sampling.image_to_video.way import chosen_way, ways_of
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.denoise import denoise
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.weights.families import Betas
from animatediff.weights.motion_picture import PictureInput

FRAMES = 5


def test_the_best_loaded_way_is_taken_or_the_one_that_is_asked_for() -> None:
    class Rgb:
        version = "rgb"

    pia = PictureInput("pia")
    networks: Any = [Rgb()]
    assert ways_of(networks, pia) == ("sparse-control", "pia", "blend")
    assert ways_of([], PictureInput("animatelcm-i2v")) == ("animatelcm-i2v", "blend")
    assert ways_of([], None) == ("blend",)
    assert chosen_way(AnimationRequest("x"), ("pia", "blend")) is None
    assert chosen_way(AnimationRequest("x", image="a.png"), ("pia", "blend")) == "pia"
    asked = AnimationRequest("x", image="a.png", image_way="blend")
    assert chosen_way(asked, ("pia", "blend")) == "blend"
    asked = AnimationRequest("x", image="a.png", image_way="sparse-control")
    with pytest.raises(InputError, match=r"needs a SparseCtrl rgb model .*, or use pia or blend"):
        chosen_way(asked, ("pia", "blend"))


def test_affinities_are_the_authors_under_names() -> None:
    # diffusers numbers them small, moderate, large, then loops, then styles.
    for number, name in enumerate(AFFINITIES):
        theirs = pipeline_pia.prepare_mask_coef_by_statistics(16, 0, number)
        assert list(affinities(name, num_frames=16)) == theirs
    assert affinities("large", num_frames=20)[-1] == 0.5
    assert (
        affinities("small-loop", num_frames=8)[0] == affinities("small-loop", num_frames=8)[-1] == 1
    )
    assert affinities("small", num_frames=1) == (1.0,)


def test_blending_fades_as_in_sd_webui() -> None:
    assert shares(4, power=1, scale=2) == (1, 0.5, 0, 0)
    assert shares(3, power=2, scale=32) == (1, 1 - 1 / 32, 1 - 4 / 32)
    picture = torch.randn(1, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    found = blended(picture, num_frames=4, power=1, scale=2, seed=3)
    assert torch.equal(found[:, :, :1], picture)
    rest = found[:, :, 1:2] - 0.5 * picture
    assert 0.4 < float(rest.std()) < 0.6
    assert torch.equal(found, blended(picture, num_frames=4, power=1, scale=2, seed=3))
    assert torch.equal(blended(picture, num_frames=2, power=0, scale=1, seed=3)[:, :, :1], picture)


def test_signal_levels_are_the_schedulers() -> None:
    for schedule in ("linear", "scaled_linear"):
        scheduler = DDIMScheduler(beta_schedule=schedule, beta_start=0.00085, beta_end=0.012)
        sigmas = noise_levels(Betas(schedule=schedule))
        for t in (0, 1, 481, 999):
            assert signal(sigmas, t) == pytest.approx(float(scheduler.alphas_cumprod[t]), rel=1e-4)
        assert signal(sigmas, 480) > signal(sigmas, 480.5) > signal(sigmas, 481)


@pytest.mark.parametrize("name", ["ddim", "euler", "euler-a", "dpm++2m-karras", "unipc", "lcm"])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_known_frame_ends_as_it_is_whatever_the_model_says(name: str, prediction: str) -> None:
    generator = torch.Generator().manual_seed(0)
    known = torch.randn(1, 4, 1, 4, 4, generator=generator)
    noise = torch.randn(1, 4, FRAMES, 4, 4, generator=generator)
    asked: list[Ask] = []

    def model(ask: Ask) -> torch.Tensor:
        asked.append(ask)
        return torch.randn(ask.latents.shape, generator=generator)

    predict = with_known_frame(model, frame=0, latents=known, betas=Betas(), prediction=prediction)
    sampler = Sampler(
        SAMPLERS[name], betas=Betas(), prediction=prediction, steps=10, seed=1,
        device=torch.device("cpu"),
    )  # fmt: skip
    latents, first = sampler.start(noise)
    found = denoise(
        latents, first=first, predict_noise=predict, sampler=sampler,
        on_step=lambda step, guess: None, should_stop=lambda: False,
    )  # fmt: skip
    assert (found[:, :, :1] - known).abs().max() < 0.05
    assert (found[:, :, 1:] - known).abs().mean() > 0.3
    assert len(asked) == 10


def test_only_windows_with_the_known_frame_are_changed_and_other_predictions_refused() -> None:
    known = torch.zeros(1, 4, 1, 2, 2)
    ask = Ask(torch.ones(1, 4, 2, 2, 2), torch.tensor(500), 0, WITH_PROMPT, torch.tensor([3, 4]))

    def model(ask: Ask) -> torch.Tensor:
        return torch.full_like(ask.latents, 7)

    predict = with_known_frame(model, frame=0, latents=known, betas=Betas(), prediction="sample")
    assert torch.equal(predict(ask), model(ask))
    with pytest.raises(InputError, match="--no-image-pinned"):
        with_known_frame(model, frame=0, latents=known, betas=Betas(), prediction="flow")


def test_agreement_is_the_peak_signal_to_noise_ratio() -> None:
    black, grey = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 51, np.uint8)
    assert agreement(black, black) == np.inf
    assert agreement(black, grey) == pytest.approx(20 * np.log10(5))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"image": "a.png", "init": "b.mp4"}, "give one of them"),
        ({"image_way": "pia"}, "give it with --image"),
        ({"image_colours": True}, "give it with --image"),
        ({"strength": 0.5}, "needs a video to begin from"),
        ({"image": "a.png", "strength": 0.5, "start_step": 3}, "give one of them"),
    ],
)
def test_options_that_contradict_each_other_are_refused(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AnimationRequest("x", **fields).validated()
