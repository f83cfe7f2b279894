"""What a stage hands to the loop: the lesson to learn, and how to learn it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.training.steps.optimizers import OptimizerName

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


@dataclass(frozen=True)
class TrainOptions:
    """How a stage is trained.

    Attributes:
        steps: optimiser steps in all.
        batch_size: samples in one backward pass.
        accumulate: backward passes in one optimiser step.
        learning_rate: after the warm-up; of AdamW, and of Muon scaled to AdamW's.
        warmup: steps over which the rate rises linearly.
        schedule: ``constant``, or ``cosine`` down to a twentieth of the rate at the last step.
        ema_decay: of the averaged weights, which are what is exported; 0 exports the last weights.
        clip: the largest allowed norm of the gradient.
        precision: autocast of the forward pass.
        optimizer: ``adamw``, or ``muon`` for weight matrices and AdamW for the rest.
        save_every: steps between checkpoints.
        log_every: steps between lines of ``metrics.jsonl``.
        num_workers: processes that read samples ahead.
        reading_timeout: seconds after which a sample that cannot be read ends the run.
    """

    steps: int
    batch_size: int
    learning_rate: float
    accumulate: int = 1
    warmup: int = 100
    schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 0.01
    ema_decay: float = 0.999
    clip: float = 1.0
    precision: Literal["fp32", "bf16"] = "bf16"
    seed: int = 0
    save_every: int = 200
    log_every: int = 20
    optimizer: OptimizerName = "adamw"
    num_workers: int = 0
    reading_timeout: int = 300

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but at least 1 is needed.")
