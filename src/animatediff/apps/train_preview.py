"""Validation clips of a training run, at fixed prompts and seeds.

They are drawn here because ``training`` never samples: the trainer only reports that it saved a
checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from animatediff.errors import Cancelled
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.sampling.around.guidance import classifier_free, guided
from animatediff.sampling.ask import Ask
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.steps.denoise import denoise
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.steps.sampler_kinds import SAMPLERS
from animatediff.sampling.steps.schedulers import Sampler
from animatediff.training.lessons.clips import ClipLesson
from animatediff.training.lessons.hinted import HintedLesson, SparseLesson
from animatediff.training.runs.report import CLIPS
from animatediff.training.runs.trainer import OnSave
from animatediff.training.stages.frozen_model import FrozenModel
from animatediff.training.stages.job import Job
from animatediff.training.stages.option_groups import ClipOptions
from animatediff.training.stages.personal import PriorLesson
from animatediff.video import Video

STEPS, GUIDANCE = 20, 4.0


def previewer(
    job: Job, folder: Path, prompts: Sequence[str], *, say: Callable[[str], None] | None = None
) -> OnSave | None:
    """Return a function that draws every prompt into the run's folder when a checkpoint is saved.

    Control networks get hints of the training clips, clip 0 with the first prompt and so on, and hints
    are shown at the left. Stages that train the built-in world's other parts have nothing to draw with
    and draw nothing.
    """
    lesson, hinted = job.lesson, None
    if isinstance(lesson, PriorLesson):
        lesson = lesson.own
    elif isinstance(lesson, HintedLesson | SparseLesson):
        lesson, hinted = lesson.denoising, lesson
    frozen = job.frozen
    if frozen is None or not isinstance(lesson, ClipLesson):
        return None
    clips = folder / CLIPS

    def draw(step: int, weights: dict[str, Tensor], stopping: Callable[[], bool]) -> None:
        clips.mkdir(parents=True, exist_ok=True)
        now = dict(lesson.learns.named_parameters())
        kept = {name: now[name].detach().clone() for name in weights}
        if isinstance(lesson.learns, LowRankSet):
            lesson.learns.scale = 1.0  # and not the scale of the last training batch
        try:
            _take(now, weights)
            for seed, prompt in enumerate(prompts):
                with torch.no_grad():
                    hints = hinted.show(seed, rows=2) if hinted is not None else None
                video = _drawn(lesson, frozen, job, prompt=prompt, seed=seed, stopping=stopping)
                video = video if hints is None else _beside(hints[0].numpy(), video)
                path = clips / f"step-{step:08d}-{seed}.webp"
                video.save(path, metadata={"prompt": prompt})
                if say is not None:
                    say(f"drew {path}")
        except Cancelled:
            return  # the checkpoint is saved, and the run is about to end
        finally:
            _take(now, kept)

    return draw


def _beside(hints: UInt8[np.ndarray, "f height width 3"], video: Video) -> Video:
    """The hints at the left of the frames that were drawn from them."""
    return Video(np.concatenate([hints, video.frames], axis=2), video.fps)


@torch.no_grad()
def _take(parameters: dict[str, nn.Parameter], weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        parameters[name].copy_(weight)


@torch.no_grad()
def _drawn(
    lesson: ClipLesson,
    frozen: FrozenModel,
    job: Job,
    *,
    prompt: str,
    seed: int,
    stopping: Callable[[], bool],
) -> Video:
    base = frozen.base
    device = base.unet.device
    text = lesson.embed(["", prompt])

    def model(ask: Ask) -> Tensor:
        times = ask.timestep.to(device).expand(len(ask.latents))
        return lesson.predict_noise(ask.latents.to(base.unet.dtype), times, text).float()

    fps = frozen.options.of(ClipOptions).fps
    side = frozen.size // base.pixels_per_latent
    noise = initial_noise(
        seed,
        num_frames=lesson.fetch.num_frames,
        channels=cast(int, base.unet.config["in_channels"]),
        height=side,
        width=side,
        share=lesson.shared_noise,
    )
    sampler = Sampler(
        SAMPLERS["ddim"],
        betas=job.betas or frozen.image_betas(),
        prediction=lesson.prediction,
        steps=STEPS,
        seed=seed,
        device=device,
    )
    latents, first = sampler.start(noise.to(device))
    latents = denoise(
        latents,
        first=first,
        predict_noise=guided(model, guidance=classifier_free(GUIDANCE)),
        sampler=sampler,
        on_step=_ignore,
        should_stop=stopping,
    )
    return Video(decode(latents, vae=base.vae), Fraction(fps).limit_denominator(1001))


def _ignore(step: int, guess: Tensor) -> None:
    """Nobody watches."""
    del step, guess
