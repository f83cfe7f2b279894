"""Control with a hint for each frame: ControlNets and T2I-Adapters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from animatediff.model.control.network import ControlNetwork, Embedded
from animatediff.model.control.residuals import Residuals
from animatediff.sampling.ask import Ask
from animatediff.sampling.control.asked import question_of
from animatediff.sampling.control.counted import Counted
from animatediff.sampling.text.conditions import Texts


@dataclass(frozen=True)
class DenseControl:
    """One control network, and the hint that each frame follows.

    Attributes:
        network: makes residuals.
        embedded: what it made of the hints, before the first step.
        rows: for each frame of the animation, the number of its hint.
        counted: how much its residuals count; not at all where a frame has no hint.
        texts: the prompts of the animation.
        dtype: in which the network computes.
    """

    network: ControlNetwork
    embedded: Embedded
    rows: Int[Tensor, " f"]
    counted: Counted
    texts: Texts
    dtype: torch.dtype

    def __call__(self, ask: Ask, /) -> Residuals:
        """What is added for an ask; nothing at all where nothing counts."""
        if self.counted.nowhere(ask):
            return Residuals()
        rows = self.rows[ask.frames.cpu()]
        question = question_of(ask, self.texts, dtype=self.dtype)
        embedded = tuple(each[rows.to(each.device)] for each in self.embedded)
        return self.counted.of(self.network(question, embedded), ask)
