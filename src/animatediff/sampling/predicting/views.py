"""Windows inside temporal attention, looked up for every ask."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import partial

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.temporal_views import TemporalViews, View
from animatediff.sampling.around.while_noisy import unwrapped
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.windows.plan import WindowPlan


@contextmanager
def views_in(animated: AnimatedUNet, *, plan: WindowPlan | None) -> Generator[Around]:
    """Let motion modules attend within windows; yields the wrapper that chooses those of a step.

    Args:
        animated: the model.
        plan: the windows; ``None`` for none.
    """
    if plan is None or plan.is_whole:
        yield unwrapped
        return
    views = TemporalViews(animated)
    try:
        yield partial(_within_views, views=views, plan=plan)
    finally:
        views.remove()


def _within_views(
    predict_noise: PredictNoise, *, views: TemporalViews, plan: WindowPlan
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        views.views = [View(window.frames, window.weights) for window in plan.at(ask.step)]
        return predict_noise(ask)

    return predict
