"""Windows inside temporal attention, looked up for every ask."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.temporal_views import TemporalViews, View
from animatediff.sampling.around.while_noisy import unwrapped
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.windows.plan import WindowPlan


@dataclass(frozen=True)
class Within:
    """The wrappers of a model whose motion modules attend within windows.

    Attributes:
        views: chooses those of a step; next to the model.
        clip_by_clip: predicts the clips of an ask one after another; around everything that is fed by
            the ask.
    """

    views: Around = unwrapped
    clip_by_clip: Around = unwrapped


@contextmanager
def views_in(animated: AnimatedUNet, *, plan: WindowPlan | None) -> Generator[Within]:
    """Let motion modules attend within windows; yields the wrappers for that.

    All frames are in memory at once. So image layers are computed some frames at a time, and clips with
    and without the prompt one after another.

    Args:
        animated: the model.
        plan: the windows; ``None`` for none.
    """
    if plan is None or plan.is_whole:
        yield Within()
        return
    from animatediff.model.fast.few_frames import few_frames  # imports diffusers

    views = TemporalViews(animated)
    few = few_frames(animated)
    try:
        yield Within(partial(_within_views, views=views, plan=plan), clip_by_clip)
    finally:
        few.remove()
        views.remove()


def _within_views(
    predict_noise: PredictNoise, *, views: TemporalViews, plan: WindowPlan
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        views.views = [View(window.frames, window.weights) for window in plan.at(ask.step)]
        return predict_noise(ask)

    return predict


def clip_by_clip(predict_noise: PredictNoise) -> PredictNoise:
    """Predict the clips of an ask one after another, which halves what is kept with guidance."""

    def predict(ask: Ask) -> Latents:
        rows = range(ask.rows.start, ask.rows.stop)
        parts = [
            predict_noise(replace(ask, latents=clip[None], rows=slice(row, row + 1)))
            for clip, row in zip(ask.latents, rows, strict=True)
        ]
        return torch.cat(parts)

    return predict
