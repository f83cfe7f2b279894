"""One loop for every stage: whatever a lesson learns, it is learned, saved and resumed here.

A step is a number of micro-batches, whichever process computes each of them: two processes learn
what one learns that accumulates two. The samples, noise and timesteps of a micro-batch are a pure
function of (seed, its number), so a run that is killed and started again repeats the uninterrupted
run bit for bit, and reading ahead in other processes changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from animatediff.errors import (
    Cancelled,
    FileError,
    InputError,
    Interrupted,
    NumericalError,
    OutputError,
)
from animatediff.runtime import seeded
from animatediff.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from animatediff.training.meters import Log, Meter
from animatediff.training.optimizers import OptimizerName, Optimizers
from animatediff.training.processes import Processes

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


@dataclass
class Run:
    """A run in its folder: everything that changes while it learns."""

    folder: Path
    options: TrainOptions
    facts: Mapping[str, str]
    parameters: dict[str, nn.Parameter]
    optimizer: Optimizers
    average: AveragedWeights
    processes: Processes
    step: int = 0
    skipped: int = 0
    meter: Meter = field(default_factory=Meter)

    def save(self) -> None:
        """Write a checkpoint, by the first process.

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
        self.processes.first_alone(
            lambda: _ignore(save_checkpoint(self.folder, Checkpoint(self.step, tensors, state)))
        )

    def resume(self, tell: Callable[[str], None]) -> None:
        """Put everything back as the newest whole checkpoint has it, if there is one.

        Raises:
            InputError: the folder holds a run with other options or data, or not every process
                sees it, or the same clips.
        """
        checkpoint = load_checkpoint(self.folder, tell=tell)
        found = -1 if checkpoint is None else checkpoint.step
        told = json.dumps(dict(self.facts), sort_keys=True).encode()
        seal = int(hashlib.sha256(told).hexdigest()[:12], 16)  # a float64 holds it exactly
        row = torch.tensor([float(found), float(seal)], dtype=torch.float64)
        steps, seals = self.processes.gathered(row).T.tolist()
        if len(set(seals)) > 1:
            raise InputError(
                "The processes of this run found different clips or weights; give every machine "
                "the same files, and see what each set aside in the folder data of its --work."
            )
        if len(set(steps)) > 1:
            raise InputError(
                f"The processes of this run see different checkpoints in {self.folder}; "
                "give every machine the same shared folder."
            )
        if checkpoint is None:
            return
        self._refuse_changes(checkpoint.state)
        self.optimizer.restore(checkpoint.tensors["optim"])
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(checkpoint.tensors["model"][name])
                self.average.weights[name].copy_(checkpoint.tensors["ema"][name])
        self.step, self.skipped = checkpoint.step, checkpoint.state["skipped"]
        self.meter = Meter(checkpoint.state.get("meter"))
        tell(f"resumed after step {self.step}")

    def _refuse_changes(self, state: Mapping[str, Any]) -> None:
        defaults = {field.name: field.default for field in fields(TrainOptions)}
        old, new = defaults | state["options"], asdict(self.options)
        # More processes with less accumulation, or the reverse, are the same micro-batches.
        old["accumulate"] = state.get("batches", old["accumulate"])
        new["accumulate"] = self.options.accumulate * self.processes.count
        before, now = state.get("facts", {}), dict(self.facts)
        old |= {k: before[k] for k in now if k in before}
        new |= {k: now[k] for k in now if k in before}
        changed = [k for k in new if k not in _MAY_CHANGE and old[k] != new[k]]
        if changed:
            what = ", ".join(f"{k} {old[k]} -> {new[k]}" for k in changed)
            raise InputError(
                f"{self.folder} holds a run with other options ({what}); resume it with its own "
                "options or choose a new folder."
            )


def train(
    lesson: Lesson,
    options: TrainOptions,
    folder: Path,
    *,
    facts: Mapping[str, str] | None = None,
    on_save: Callable[[int, dict[str, Tensor]], None] | None = None,
    tell: Callable[[str], None] | None = None,
    tensorboard: bool = False,
) -> dict[str, Tensor]:
    """Train a lesson to its last step, resuming from ``folder`` where it has a checkpoint.

    Args:
        lesson: what is learned, and from what.
        options: how.
        folder: of this run: its checkpoints and ``metrics.jsonl``.
        facts: what else makes this run what it is, such as its data; a run with others is refused.
        on_save: told the step and the averaged weights after every checkpoint, e.g. to preview.
        tell: told in a sentence what is worth knowing, such as a damaged checkpoint.
        tensorboard: whether to write TensorBoard's files too.

    Returns:
        The learned weights by parameter name, averaged, in fp32.

    Raises:
        Cancelled, Interrupted: SIGINT or SIGTERM arrived; the step was finished and saved.
        NumericalError: ten steps in a row had no finite gradient.
        InputError: the folder holds a run with other options.
        OutputError: a checkpoint cannot be written; this is tried before the first step.
        PeerLost: another process of this run has ended.
    """
    parameters = _learned(lesson.learns)
    run = Run(
        folder,
        options,
        facts or {},
        parameters,
        Optimizers(parameters, name=options.optimizer, weight_decay=options.weight_decay),
        AveragedWeights(
            {k: p.detach().float().clone() for k, p in parameters.items()}, options.ema_decay
        ),
        Processes(),
    )
    run.resume(tell or _ignore)
    if run.step == 0:
        run.processes.first_alone(lambda: _check_space(folder, parameters))
        run.save()
    _learn(run, lesson, on_save or _ignore_save, tensorboard=tensorboard)
    weights = run.average.weights
    return weights if options.ema_decay else {k: p.detach() for k, p in parameters.items()}


def _learn(
    run: Run,
    lesson: Lesson,
    on_save: Callable[[int, dict[str, Tensor]], None],
    *,
    tensorboard: bool,
) -> None:
    """The loop."""
    options, processes = run.options, run.processes
    device = next(iter(run.parameters.values())).device
    log = Log(run.folder, start=run.step, tensorboard=tensorboard) if processes.is_first else None
    clock = time.perf_counter()
    bad_in_a_row = 0
    batches = _batches(lesson, run)
    try:
        with _stop_signal() as stopping:
            for step in range(run.step, options.steps):
                rate = learning_rate_at(step, options)
                terms = _backward(lesson, options, batches, device)
                processes.average_gradients(run.parameters.values())
                terms, stop = _agreed(terms, stopping(), processes)
                norm = nn.utils.clip_grad_norm_(run.parameters.values(), options.clip)
                if torch.isfinite(norm):
                    run.optimizer.step(rate=rate)
                    bad_in_a_row = 0
                    run.average.update(lesson.learns, step)
                else:
                    run.skipped, bad_in_a_row = run.skipped + 1, bad_in_a_row + 1
                lesson.learns.zero_grad(set_to_none=True)
                if bad_in_a_row == 10:
                    raise NumericalError(
                        f"The gradient was not finite in ten steps in a row up to step {step}; "
                        "lower the learning rate and resume from the last checkpoint."
                    )
                run.step = step + 1
                run.meter.add({**terms, "norm": float(norm)})
                last = run.step == options.steps
                if run.step % options.log_every == 0 or last:
                    means = run.meter.taken()
                    if log is not None:
                        seconds = round(time.perf_counter() - clock, 2)
                        line = {"rate": rate, "skipped": run.skipped, "seconds": seconds}
                        log.write({"step": run.step, **means, **line})
                if run.step % options.save_every == 0 or last or stop:
                    if log is not None:
                        log.sync()
                    run.save()
                    if processes.is_first:
                        on_save(run.step, run.average.weights)
                if stop and not last:
                    raise stop(
                        f"Stopped and saved after step {run.step}; the same command resumes."
                    )
    finally:
        if log is not None:
            log.close()


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
    lesson: Lesson, options: TrainOptions, batches: Iterator[tuple[int, Any]], device: torch.device
) -> dict[str, float]:
    """Accumulate the gradient of one step; returns the mean of each term over what had it."""
    meter = Meter()
    for _ in range(options.accumulate):
        number, batch = next(batches)
        if isinstance(batch, FileError):
            raise batch
        with torch.autocast(device.type, torch.bfloat16, enabled=options.precision == "bf16"):
            terms = lesson.losses(batch, seeded(options.seed, "step", number))
        (terms["loss"] / options.accumulate).backward()
        meter.add({name: float(value.detach()) for name, value in terms.items()})
    return {k: math.nan if mean is None else mean for k, mean in meter.taken().items()}


def _agreed(
    terms: dict[str, float], stop: int, processes: Processes
) -> tuple[dict[str, float], type[Exception] | None]:
    """The terms of all processes together, and whether any of them was asked to stop."""
    row = torch.tensor([float(stop), *terms.values()], dtype=torch.float64)
    rows = processes.gathered(row)
    means = rows[:, 1:].nanmean(0).tolist()
    kinds: dict[int, type[Exception]] = {signal.SIGINT: Cancelled, signal.SIGTERM: Interrupted}
    return dict(zip(terms, means, strict=True)), kinds.get(int(rows[:, 0].max()))


@dataclass(frozen=True)
class MicroBatches(Dataset[tuple[int, Any]]):
    """Every micro-batch of a run by its number: what it is does not depend on who reads it."""

    fetch: Fetch
    size: int
    seed: int
    batch_size: int

    def __getitem__(self, number: int) -> tuple[int, Any]:
        """The micro-batch of that number, or why it cannot be read; and the number."""
        indices = samples_of(number, seed=self.seed, size=self.size, batch_size=self.batch_size)
        try:
            return number, self.fetch(indices, seeded(self.seed, "data", number))
        except FileError as error:  # as a value, it comes out of another process as it is
            return number, error


def _batches(lesson: Lesson, run: Run) -> Iterator[tuple[int, Any]]:
    """The micro-batches of this process from here on, read ahead if there are workers."""
    options, processes = run.options, run.processes
    data = MicroBatches(lesson.fetch, lesson.size, options.seed, options.batch_size)
    numbers = [
        (step * options.accumulate + part) * processes.count + processes.rank
        for step in range(run.step, options.steps)
        for part in range(options.accumulate)
    ]
    if options.num_workers == 0:
        return (data[number] for number in numbers)
    return _read_ahead(data, numbers, options)


def _read_ahead(
    data: MicroBatches, numbers: Sequence[int], options: TrainOptions
) -> Iterator[tuple[int, Any]]:
    loader = DataLoader(
        data,
        sampler=numbers,
        batch_size=None,
        num_workers=options.num_workers,
        # Decoders have threads, which do not survive a fork.
        multiprocessing_context="spawn",
        timeout=options.reading_timeout,
        worker_init_fn=_leave_interrupts,
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "timed out" not in str(error):
            raise
        raise FileError(
            f"A sample could not be read within {options.reading_timeout} s; "
            "take out the broken file and run the same command to resume."
        ) from None


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C reaches every process of a terminal; only the trainer decides what it means."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)


def _check_space(folder: Path, parameters: Mapping[str, nn.Parameter]) -> None:
    """Refuse to begin where two checkpoints, and a third being written, will not fit.

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


def _learned(module: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in module.named_parameters() if p.requires_grad}


_MAY_CHANGE = frozenset({"save_every", "log_every", "num_workers", "reading_timeout"})


def _ignore(said: object) -> None:
    """Nobody listens."""
    del said


def _ignore_save(step: int, weights: dict[str, Tensor]) -> None:
    """Nobody listens."""
    del step, weights


@contextmanager
def _stop_signal() -> Generator[Callable[[], int]]:
    """Tells which of SIGTERM and SIGINT arrived, or 0; a second one ends the process at once."""
    received: list[int] = []

    def note(number: int, _frame: object) -> None:
        received.append(number)
        for kind, handler in previous.items():
            signal.signal(kind, handler)

    previous = {kind: signal.signal(kind, note) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield lambda: received[0] if received else 0
    finally:
        for kind, handler in previous.items():
            signal.signal(kind, handler)
