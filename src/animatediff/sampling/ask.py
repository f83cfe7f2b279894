"""One question to the model, as a value: which noise is in these latents?

Whatever depends on the prompt, on the frames or on the step is looked up from the ask. So a wrapper
changes the ask and never needs to know what else listens to it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float, Int
from torch import Tensor

from animatediff.model.control.residuals import Residuals

Latents = Float[Tensor, "b c f h w"]

WITHOUT_PROMPT = slice(0, 1)
WITH_PROMPT = slice(1, 2)
BOTH = slice(0, 2)


@dataclass(frozen=True)
class Ask:
    """One question to the model.

    Attributes:
        latents: noisy latents, a clip for each row.
        timestep: their noise level, of 1,000.
        step: the denoising step, from 0.
        rows: what the clips are conditioned on: ``WITHOUT_PROMPT``, ``WITH_PROMPT`` or ``BOTH``.
            Further prompts of the same animation have the rows from 2 on.
        frames: which frames of the animation the latents hold.
    """

    latents: Latents
    timestep: Tensor
    step: int
    rows: slice
    frames: Int[Tensor, " f"]

    @property
    def prompted(self) -> tuple[bool, ...]:
        """Whether each clip is conditioned on a prompt."""
        return tuple(row > 0 for row in range(self.rows.start, self.rows.stop))

    def pick(self, without: Tensor, along: Tensor) -> Tensor:
        """For each clip one of two tensors, the second if it is conditioned on a prompt."""
        return torch.stack([along if prompted else without for prompted in self.prompted])


PredictNoise = Callable[[Ask], Latents]
"""Predicts the noise in the latents of an ask."""

Around = Callable[[PredictNoise], PredictNoise]
"""Wraps one prediction in another; ``prediction.py`` lists the order."""


class Control(Protocol):
    """A control network, or anything else that adds to features inside the image model."""

    def __call__(self, ask: Ask, /) -> Residuals:
        """What is added for an ask, a plane for each frame of each clip."""
        ...
