"""What a stage hands to the training loop: what is trained, its samples and its losses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn

Fetch = Callable[[Int[Tensor, " batch"], torch.Generator], Any]
"""Reads samples by number; it may run ahead in another process."""


class Lesson(Protocol):
    """What a stage trains, and on what; the trainer knows nothing else about it."""

    learns: nn.Module
    size: int

    @property
    def fetch(self) -> Fetch:
        """Reads the input of ``losses``, without any network."""
        ...

    def losses(self, batch: Any, generator: torch.Generator, /) -> dict[str, Tensor]:
        """Return the terms of the loss of these samples; ``loss`` is minimised, the others are logged.

        A term that these samples do not determine is NaN.
        """
        ...


def numbers_themselves(
    indices: Int[Tensor, " batch"], generator: torch.Generator
) -> Int[Tensor, " batch"]:
    """The ``fetch`` of a lesson whose samples are all in memory."""
    del generator
    return indices
