"""What a stage hands to the training loop: what is trained, its samples and its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn

Fetch = Callable[[Int[Tensor, " batch"], torch.Generator], Any]
"""Reads samples by their numbers; it may run ahead, in another process."""


class Lesson(Protocol):
    """What a stage learns and from what; the trainer knows nothing else of it."""

    learns: nn.Module
    size: int

    @property
    def fetch(self) -> Fetch:
        """Reads what ``losses`` takes, before any network."""
        ...

    def losses(self, batch: Any, generator: torch.Generator, /) -> dict[str, Tensor]:
        """The terms of the loss of these samples; ``loss`` is minimised, the others are logged.

        A term that these samples say nothing of is NaN.
        """
        ...


def numbers_themselves(
    indices: Int[Tensor, " batch"], generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """The ``fetch`` of a lesson whose samples are all in memory."""
    del generator
    return indices
