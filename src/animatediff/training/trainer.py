"""One loop for every stage: whatever a lesson learns, it is learned, saved and resumed here.

The samples, noise and timesteps of step k are a pure function of (seed, k), so a run that is killed
and started again repeats the uninterrupted run bit for bit.
"""

from __future__ import annotations

import json
import math
import signal
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn

from animatediff.errors import Cancelled, InputError, NumericalError
from animatediff.runtime import seeded
from animatediff.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from animatediff.training.optimizers import OptimizerName, Optimizers


class Lesson(Protocol):
    """What a stage learns and from what; the trainer knows nothing else of it."""

    learns: nn.Module
    size: int

    def losses(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms of the loss of these samples; ``loss`` is minimised, the others are logged."""
        ...


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

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "save_every", "log_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}, but at least 1 is needed.")


@dataclass
class AveragedWeights:
    """The exponential moving average of the learned weights, in fp32."""

    weights: dict[str, Tensor]
    decay: float

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move towards the weights after ``step`` steps; early averages forget faster."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = [p.detach().float() for p in _learned(module).values()]
        for average, weight in zip(self.weights.values(), current, strict=True):
            average.lerp_(weight, 1 - decay)


def train(
    lesson: Lesson,
    options: TrainOptions,
    folder: Path,
    *,
    on_save: Callable[[int, dict[str, Tensor]], None] | None = None,
) -> dict[str, Tensor]:
    """Train a lesson to its last step, resuming from ``folder`` where it has a checkpoint.

    Args:
        lesson: what is learned, and from what.
        options: how.
        folder: of this run: its checkpoints and ``metrics.jsonl``.
        on_save: told the step and the averaged weights after every checkpoint, e.g. to preview.

    Returns:
        The learned weights by parameter name, averaged, in fp32.

    Raises:
        Cancelled: SIGTERM or SIGINT arrived; the step was finished and saved.
        NumericalError: ten steps in a row had no finite gradient.
        InputError: the folder holds a run with other options.
    """
    parameters = _learned(lesson.learns)
    optimizer = Optimizers(parameters, name=options.optimizer, weight_decay=options.weight_decay)
    average = AveragedWeights(
        {k: p.detach().float().clone() for k, p in parameters.items()}, options.ema_decay
    )
    start, skipped = _resume(folder, options, parameters, optimizer, average)
    device = next(iter(parameters.values())).device
    log = _open_log(folder, start)
    clock = time.perf_counter()
    bad_in_a_row = 0
    with log, _stop_signal() as stopping:
        for step in range(start, options.steps):
            rate = learning_rate_at(step, options)
            terms = _backward(lesson, options, step, device)
            norm = nn.utils.clip_grad_norm_(parameters.values(), options.clip)
            if torch.isfinite(norm):
                optimizer.step(rate=rate)
                bad_in_a_row = 0
                average.update(lesson.learns, step)
            else:
                skipped, bad_in_a_row = skipped + 1, bad_in_a_row + 1
            lesson.learns.zero_grad(set_to_none=True)
            if bad_in_a_row == 10:
                raise NumericalError(
                    f"The gradient was not finite in ten steps in a row up to step {step}; lower the "
                    "learning rate and resume from the last checkpoint."
                )
            done = step + 1
            if done % options.log_every == 0 or done == options.steps:
                facts = {
                    "step": done,
                    **terms,
                    "norm": float(norm),
                    "rate": rate,
                    "skipped": skipped,
                }
                log.write(
                    json.dumps(facts | {"seconds": round(time.perf_counter() - clock, 2)}) + "\n"
                )
                log.flush()
            if done % options.save_every == 0 or done == options.steps or stopping():
                _save(folder, options, done, skipped, parameters, optimizer, average)
                if on_save is not None:
                    on_save(done, average.weights)
            if stopping() and done < options.steps:
                raise Cancelled(f"Stopped and saved after step {done}; the same command resumes.")
    return average.weights if options.ema_decay else {k: p.detach() for k, p in parameters.items()}


def learning_rate_at(step: int, options: TrainOptions) -> float:
    """The rate of one step: a linear warm-up, then constant or a cosine to a twentieth."""
    warm = min(1.0, (step + 1) / max(1, options.warmup))
    if options.schedule == "constant":
        return options.learning_rate * warm
    progress = step / max(1, options.steps)
    return options.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def samples_of(step: int, *, seed: int, size: int, batch_size: int) -> Int[Tensor, " batch"]:
    """The indices of one batch: every sample once in each pass, each pass in its own order."""
    positions = torch.arange(step * batch_size, (step + 1) * batch_size)
    passes = positions // size
    orders = {
        int(p): torch.randperm(size, generator=seeded(seed, "order", int(p)))
        for p in passes.unique()
    }
    return torch.stack(
        [orders[int(p)][int(i) % size] for p, i in zip(passes, positions, strict=True)]
    )


def _backward(
    lesson: Lesson, options: TrainOptions, step: int, device: torch.device
) -> dict[str, float]:
    """Accumulate the gradient of one step; returns the mean of each term."""
    totals: dict[str, float] = {}
    for part in range(options.accumulate):
        micro_step = step * options.accumulate + part
        indices = samples_of(
            micro_step, seed=options.seed, size=lesson.size, batch_size=options.batch_size
        )
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            terms = lesson.losses(indices, seeded(options.seed, "step", micro_step))
        (terms["loss"] / options.accumulate).backward()
        for name, value in terms.items():
            totals[name] = totals.get(name, 0.0) + float(value.detach()) / options.accumulate
    return totals


def _learned(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


def _save(
    folder: Path,
    options: TrainOptions,
    step: int,
    skipped: int,
    parameters: dict[str, nn.Parameter],
    optimizer: Optimizers,
    average: AveragedWeights,
) -> None:
    tensors = {
        "model": {name: p.detach() for name, p in parameters.items()},
        "ema": average.weights,
        "optim": optimizer.state(),
    }
    save_checkpoint(
        folder, Checkpoint(step, tensors, {"options": asdict(options), "skipped": skipped})
    )


def _resume(
    folder: Path,
    options: TrainOptions,
    parameters: dict[str, nn.Parameter],
    optimizer: Optimizers,
    average: AveragedWeights,
) -> tuple[int, int]:
    """Put everything back as it was; returns the next step and the skipped ones so far."""
    checkpoint = load_checkpoint(folder)
    if checkpoint is None:
        return 0, 0
    _refuse_changes(folder, checkpoint.state["options"], asdict(options))
    optimizer.restore(checkpoint.tensors["optim"])
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(checkpoint.tensors["model"][name])
            average.weights[name].copy_(checkpoint.tensors["ema"][name])
    return checkpoint.step, checkpoint.state["skipped"]


_MAY_CHANGE = frozenset({"save_every", "log_every"})


def _refuse_changes(folder: Path, old: dict[str, object], new: dict[str, object]) -> None:
    defaults = {field.name: field.default for field in fields(TrainOptions)}
    old = defaults | old
    changed = [k for k in new if k not in _MAY_CHANGE and old[k] != new[k]]
    if changed:
        what = ", ".join(f"{k} {old[k]} -> {new[k]}" for k in changed)
        raise InputError(
            f"{folder} holds a run with other options ({what}); resume it with its own options or "
            "choose a new folder."
        )


def _open_log(folder: Path, start: int):
    """``metrics.jsonl``, cut back to the step that training goes on from."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "metrics.jsonl"
    if path.exists():
        lines = [line for line in path.read_text().splitlines() if line.endswith("}")]
        kept = [line for line in lines if json.loads(line)["step"] <= start]
        path.write_text("".join(f"{line}\n" for line in kept))
    return path.open("a")


@contextmanager
def _stop_signal() -> Generator[Callable[[], bool]]:
    """Tells whether SIGTERM or SIGINT arrived; a second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    previous = {kind: signal.signal(kind, note) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: bool(received)
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)


def gradients_off(module: nn.Module) -> nn.Module:
    """Freeze a module: what a stage does not learn, it does not change."""
    return module.requires_grad_(False).eval()
