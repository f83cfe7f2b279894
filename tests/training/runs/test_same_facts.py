"""Processes that would learn from different clips do not begin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from animatediff.errors import InputError
from animatediff.training.recipe import Recipe
from animatediff.training.runs.run import AveragedWeights, Run
from animatediff.training.steps.optimizers import Optimizers
from animatediff.training.steps.processes import Processes


class Pair:
    """Two processes in one: what the other tells is given."""

    def __init__(self, other: list[Tensor]) -> None:
        self.other, self.told = other, list[Tensor]()

    def gathered(self, row: Tensor) -> Tensor:
        self.told.append(row)
        return torch.stack([row, self.other.pop(0) if self.other else row])


def run(folder: Path, facts: dict[str, str], pair: Pair) -> Run:
    parameters = dict(nn.Linear(1, 1).named_parameters())
    return Run(
        folder,
        Recipe(steps=1, batch_size=1, learning_rate=1.0),
        facts,
        parameters,
        Optimizers(parameters, name="adamw", weight_decay=0.0),
        AveragedWeights({}, 0.0),
        cast(Processes, cast(Any, pair)),
    )


def test_processes_that_found_different_clips_do_not_begin(tmp_path: Path) -> None:
    first = Pair([])
    begun = run(tmp_path, {"data": "a", "set_aside": "none"}, first)
    begun.resume(lambda _: None)
    same = replace(begun, facts={"set_aside": "none", "data": "a"})
    same.processes = cast(Processes, cast(Any, Pair([*first.told])))
    same.resume(lambda _: None)
    other = replace(begun, facts={"data": "a", "set_aside": "fox (1a2b3c4d)"})
    other.processes = cast(Processes, cast(Any, Pair([*first.told])))
    with pytest.raises(InputError, match="found different clips"):
        other.resume(lambda _: None)
