"""The third-order step of DPM-Solver++ as an SDE, whose last term has the wrong sign in diffusers.

The solver expands the clean latents, as the model predicts them, around the present step: by their
first and second derivative after the half log-SNR, taken from the last three steps (arXiv 2206.00927,
Appendix B). The weight of the second derivative vanishes with the length of the step. In diffusers
(0.42) it tends to -1 instead, so that the order of the solver is lost and details are
drawn too strongly. k-diffusion, which "DPM++ 3M SDE" is the name of, has the right one.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MethodType
from typing import Any

import torch
from torch import Tensor

_NAME = "multistep_dpm_solver_third_order_update"


def mend_third_order(scheduler: Any) -> None:
    """Let a ``DPMSolverMultistepScheduler`` with the algorithm sde-dpmsolver++ take right steps."""
    setattr(scheduler, _NAME, MethodType(_third_order, scheduler))  # a copy binds it to itself


def _third_order(
    scheduler: Any, pictures: Sequence[Tensor], *, sample: Tensor, noise: Tensor
) -> Tensor:
    """The latents after one step; ``pictures`` are the last three predictions of clean latents."""
    step = scheduler.step_index
    level, level_after = scheduler.sigmas[step], scheduler.sigmas[step + 1]
    signal, signal_after = ((1 / torch.sqrt(each**2 + 1)) for each in (level, level_after))
    # Minus the logarithm of the noise level is the half log-SNR.
    first, before, now, after = (-torch.log(scheduler.sigmas[step + n]) for n in (-2, -1, 0, 1))
    length = after - now
    last, earlier = (now - before) / length, (before - first) / length
    slopes = (pictures[-1] - pictures[-2]) / last, (pictures[-2] - pictures[-3]) / earlier
    curve = (slopes[0] - slopes[1]) / (last + earlier)
    slope = slopes[0] + last * curve
    left = torch.exp(-2 * length)
    of_slope = (left - 1) / (2 * length) + 1
    of_curve = 0.5 - of_slope / (2 * length)
    picture = (1 - left) * pictures[-1] + of_slope * slope + of_curve * curve
    fresh = level_after * torch.sqrt(1 - left) * noise
    return signal_after * (left * sample / signal + picture + fresh)
