"""Draw the latents of an animation: initial noise, a sampler, its steps, and FreeInit's rounds."""

from __future__ import annotations

from functools import partial

from animatediff.sampling.ask import Latents, PredictNoise
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.denoise import denoise
from animatediff.sampling.steps.free_init import in_rounds
from animatediff.sampling.steps.free_noise import rescheduled
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.sampling.video_to_video.noise_behind import noise_behind
from animatediff.sampling.watch import Watch
from animatediff.weights.families import Family
from animatediff.weights.image_model.base_model import BaseModel


def new_sampler(settled: Settled, *, base: BaseModel, family: Family) -> Sampler:
    """The sampler of a request, before its first step."""
    return Sampler(
        settled.sampler,
        betas=family.betas,
        prediction=str(base.scheduler_config.get("prediction_type", "epsilon")),
        steps=settled.steps,
        seed=settled.request.seed,
        device=base.device,
        spacing=family.spacing,
        lcm_steps=family.lcm_steps,
    )


def draw_latents(
    settled: Settled,
    *,
    base: BaseModel,
    family: Family,
    predict_noise: PredictNoise,
    watch: Watch,
    init: Latents | None = None,
    unguided: PredictNoise | None = None,
) -> Latents:
    """Draw the latents that a request determines.

    Args:
        settled: the request.
        base: the image model.
        family: of the motion module; it has the noise schedule.
        predict_noise: the model with its wrappers.
        watch: called after every step.
        init: latents to begin from, if any.
        unguided: predicts what ``init`` shows; given if it is inverted, to begin with its own noise.

    Raises:
        Cancelled: ``watch`` asked to stop.
        NumericalError: a step gave NaN or infinity.
    """

    def noise(number: int = 0) -> Latents:
        unit = base.pixels_per_latent
        drawn = initial_noise(
            settled.request.seed,
            num_frames=settled.num_frames,
            channels=base.unet.config["in_channels"],
            height=settled.height // unit,
            width=settled.width // unit,
            number=number,
            share=family.shared_noise,
        )
        plan = settled.views or settled.windows
        if settled.request.noise == "freenoise" and not plan.is_whole:
            stride = max(1, plan.length - plan.overlap)
            drawn = rescheduled(drawn, window=plan.length, stride=stride, seed=settled.request.seed)
        return drawn.to(base.device)

    def sampler() -> Sampler:
        return new_sampler(settled, base=base, family=family)

    def draw(start: Latents, number: int) -> Latents:
        if init is not None and unguided is not None:
            start = noise_behind(
                init,
                sampler=sampler(),
                first=settled.first,
                predict_noise=unguided,
                on_step=watch.inverted,
                should_stop=watch.should_stop,
            )
        chosen = sampler()
        strength = 1 - settled.first / settled.steps
        latents, first = chosen.start(start, init=init, strength=strength)
        return denoise(
            latents,
            first=first,
            predict_noise=predict_noise,
            sampler=chosen,
            on_step=partial(watch.denoised, number=number),
            should_stop=watch.should_stop,
        )

    return in_rounds(
        noise(),
        rounds=settled.request.free_init,
        draw=draw,
        noised=lambda latents, noise: sampler().noised(latents, noise),
        fresh=noise,
    )
