"""The state of a run: everything that changes during training, saved and restored exactly."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from animatediff.errors import InputError, OutputError
from animatediff.training.recipe import Recipe
from animatediff.training.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from animatediff.training.runs.meters import Meter
from animatediff.training.steps.optimizers import Optimizers
from animatediff.training.steps.processes import Processes

_MAY_CHANGE = frozenset({"save_every", "log_every", "num_workers", "reading_timeout"})


@dataclass
class AveragedWeights:
    """Exponential moving average of the trained weights, in fp32."""

    weights: dict[str, Tensor]
    decay: float

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Update the average after ``step`` steps; early averages forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [p.detach().float() for p in learned_in(module).values()]
        for average, weight in zip(self.weights.values(), current, strict=True):
            average.lerp_(weight, 1 - decay)


@dataclass
class Run:
    """A run in its folder: everything that changes during training."""

    folder: Path
    options: Recipe
    facts: Mapping[str, str]
    parameters: dict[str, nn.Parameter]
    optimizer: Optimizers
    average: AveragedWeights
    processes: Processes
    step: int = 0
    skipped: int = 0
    meter: Meter = field(default_factory=Meter)

    def save(self) -> None:
        """Write a checkpoint (first process only).

        Raises:
            OutputError: it cannot be written; earlier ones are intact.
        """
        tensors = {
            "model": {name: p.detach() for name, p in self.parameters.items()},
            "ema": self.average.weights,
            "optim": self.optimizer.state(),
        }
        state = {
            "options": asdict(self.options),
            "batches": self.options.accumulate * self.processes.count,
            "facts": dict(self.facts),
            "skipped": self.skipped,
            "meter": self.meter.state(),
        }
        checkpoint = Checkpoint(self.step, tensors, state)
        self.processes.first_alone(partial(save_checkpoint, self.folder, checkpoint))

    def resume(self, tell: Callable[[str], None]) -> None:
        """Restore the newest complete checkpoint, if there is one.

        Raises:
            InputError: the folder contains a run with other options or data, or the processes see
                different checkpoints or clips.
        """
        checkpoint = load_checkpoint(self.folder, tell=tell)
        found = -1 if checkpoint is None else checkpoint.step
        text = json.dumps(dict(self.facts), sort_keys=True).encode()
        seal = int(hashlib.sha256(text).hexdigest()[:12], 16)  # a float64 holds it exactly
        row = torch.tensor([float(found), float(seal)], dtype=torch.float64)
        steps, seals = self.processes.gathered(row).T.tolist()
        if len(set(seals)) > 1:
            raise InputError(
                "The processes of this run found different clips or weights; give every "
                "machine the same files, and see the bad clips of each in the folder data of "
                "its --work."
            )
        if len(set(steps)) > 1:
            raise InputError(
                f"The processes of this run see different checkpoints in {self.folder}; "
                "give every machine the same shared folder."
            )
        if checkpoint is None:
            return
        self._refuse_changes(checkpoint)
        self.optimizer.restore(checkpoint.tensors["optim"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(checkpoint.tensors["model"][name])
                self.average.weights[name].copy_(checkpoint.tensors["ema"][name])
        self.step, self.skipped = checkpoint.step, checkpoint.state["skipped"]
        self.meter = Meter(checkpoint.state.get("meter"))
        tell(f"resumed after step {self.step}")

    def _refuse_changes(self, checkpoint: Checkpoint) -> None:
        state = checkpoint.state
        defaults = {field.name: field.default for field in fields(Recipe)}
        # As JSON has them: a tuple is a list there.
        new = json.loads(json.dumps(asdict(self.options)))
        old = json.loads(json.dumps(defaults | state["options"], default=str))
        # More processes with less accumulation, or the reverse, are the same micro-batches.
        old["accumulate"] = state.get("batches", old["accumulate"])
        new["accumulate"] = self.options.accumulate * self.processes.count
        before, now = state.get("facts", {}), dict(self.facts)
        old |= {k: before[k] for k in now if k in before}
        new |= {k: now[k] for k in now if k in before}
        may_change = _MAY_CHANGE
        same_start = new["warmup"] <= min(old["steps"], new["steps"])
        if new["schedule"] == "constant" and same_start and new["steps"] >= checkpoint.step:
            may_change |= {"steps"}  # no step depends on how many there are
        changed = [k for k in new if k not in may_change and old[k] != new[k]]
        if changed:
            what = ", ".join(f"{k} {old[k]} -> {new[k]}" for k in changed)
            raise InputError(
                f"{self.folder} contains a run with other options ({what}); resume it with its "
                "own options or choose a new folder."
            )


def learned_in(module: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters of a module, by name."""
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def check_space(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Refuse to start without room for two checkpoints and a third one being written.

    Raises:
        OutputError: there is too little space.
    """
    numbers = sum(p.numel() for p in parameters.values())
    needed = 3 * 4 * numbers * 4  # weights, their average and two moments, in fp32
    place = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < needed:
        raise OutputError(
            f"The checkpoints of this run need {needed / 1e9:.1f} GB, and {place} has "
            f"{free / 1e9:.1f} GB free; free some space or choose another folder."
        )
