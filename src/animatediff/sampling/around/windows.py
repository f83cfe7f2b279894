"""Context windows: denoise long clips in overlapping windows.

The motion module sees one window at a time, with positions from the window's first frame. Predictions
are averaged where windows overlap. Windows are predicted one after another, so memory does not grow
with the clip.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from animatediff.sampling.ask import Ask, Latents, PredictNoise
from animatediff.sampling.windows.plan import WindowPlan


def over_windows(predict_noise: PredictNoise, *, plan: WindowPlan) -> PredictNoise:
    """Predict each window separately, and average by their weights.

    Args:
        predict_noise: predicts the frames of one window.
        plan: covers every frame of the ask at every step.
    """
    if plan.is_whole:
        return predict_noise

    def predict(ask: Ask) -> Latents:
        total, weight = torch.zeros_like(ask.latents), ask.latents.new_zeros(ask.latents.shape[2])
        windows = [
            (torch.tensor(window.frames, device=weight.device), weight.new_tensor(window.weights))
            for window in plan.at(ask.step)
        ]
        for frames, counts in windows:
            weight.index_add_(0, frames, counts)
        for frames, counts in windows:
            part = replace(
                ask,
                latents=ask.latents[:, :, frames],
                frames=ask.frames[frames.to(ask.frames.device)],
            )
            # A frame that only one window holds has a share of exactly 1, and is not rounded.
            share = counts / weight[frames]
            total.index_add_(2, frames, predict_noise(part) * share[:, None, None])
        return total

    return predict
