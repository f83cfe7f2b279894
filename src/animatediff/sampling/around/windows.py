"""Context windows: a clip longer than the motion module knows, denoised in parts that overlap.

The motion module sees one window at a time, its positions begin at the first frame of each, and where
windows overlap their predictions are averaged, as in ComfyUI-AnimateDiff-Evolved's static schedule with
pyramid weights. Windows are predicted one after another, so memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from animatediff.sampling.ask import Ask, Latents, PredictNoise


@dataclass(frozen=True)
class Window:
    """Frames that are denoised together.

    Attributes:
        frames: of the animation, consecutive.
        weights: how much each frame's prediction counts where windows overlap.
    """

    frames: range
    weights: tuple[float, ...]


def plan_windows(num_frames: int, *, length: int, overlap: int) -> tuple[Window, ...]:
    """Cover a clip with windows of equal length; the last one is moved back to end with the clip.

    Args:
        num_frames: of the clip.
        length: of a window; a clip that is no longer is one window.
        overlap: frames that a window shares with the one before, at least; below ``length``.
    """
    step, length = length - overlap, min(length, num_frames)
    last = num_frames - length
    starts = [*range(0, last, step), last]
    return tuple(Window(range(start, start + length), pyramid(length)) for start in starts)


def pyramid(length: int) -> tuple[float, ...]:
    """Weights 1, 2, 3, ... up to the middle and down again."""
    return tuple(float(min(frame + 1, length - frame)) for frame in range(length))


def over_windows(predict_noise: PredictNoise, *, windows: Sequence[Window]) -> PredictNoise:
    """Predict each window by itself, and average them by their weights.

    Args:
        predict_noise: predicts the frames of one window.
        windows: cover every frame of the ask; a single one is the prediction itself.
    """
    if len(windows) == 1:
        return predict_noise

    def predict(ask: Ask) -> Latents:
        total, weight = torch.zeros_like(ask.latents), ask.latents.new_zeros(ask.latents.shape[2])
        for window in windows:
            frames = slice(window.frames.start, window.frames.stop)
            part = replace(ask, latents=ask.latents[:, :, frames], frames=ask.frames[frames])
            counts = weight.new_tensor(window.weights)
            total[:, :, frames] += predict_noise(part) * counts[:, None, None]
            weight[frames] += counts
        return total / weight[:, None, None]

    return predict
