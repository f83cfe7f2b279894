"""The training loop of every stage.

A step is a number of micro-batches, whichever process computes each of them: two processes train
like one that accumulates two. A micro-batch, including noise and timesteps, is a pure function of
the seed and its number, so a run that is killed and restarted repeats the uninterrupted run bit for
bit.
"""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from animatediff.errors import Cancelled, FileError, Interrupted, NumericalError
from animatediff.runtime import seeded
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.recipe import Recipe, warmup_steps
from animatediff.training.runs.batches import batches_from
from animatediff.training.runs.meters import Log, Meter
from animatediff.training.runs.run import AveragedWeights, Run, check_space, learned_in
from animatediff.training.steps.optimizers import Optimizers
from animatediff.training.steps.processes import Processes

_KINDS: Mapping[int, type[Exception]] = {signal.SIGINT: Cancelled, signal.SIGTERM: Interrupted}


@dataclass(frozen=True)
class StepDone:
    """Report of one optimizer step.

    Attributes:
        step: its number, from 1.
        loss: of all processes; NaN where the step had none.
        rate: the learning rate.
        logged: whether a line was just added to ``metrics.jsonl``.
    """

    step: int
    loss: float
    rate: float
    logged: bool


OnSave = Callable[[int, dict[str, Tensor], Callable[[], bool]], None]
"""Called with the step, the averaged weights, and a function that says whether to stop at once."""


def train(
    lesson: Lesson,
    options: Recipe,
    folder: Path,
    *,
    facts: Mapping[str, str] | None = None,
    on_save: OnSave | None = None,
    on_step: Callable[[StepDone], None] | None = None,
    tell: Callable[[str], None] | None = None,
    tensorboard: bool = False,
) -> dict[str, Tensor]:
    """Train a lesson to its last step, resuming from ``folder`` where it has a checkpoint.

    Args:
        lesson: what is learned, and from what.
        options: how.
        folder: of this run: its checkpoints and ``metrics.jsonl``.
        facts: what else makes this run what it is, such as its data; a run with others is refused.
        on_save: called after every checkpoint, e.g. to preview, but not after the one of a stop.
        on_step: called by the first process after every step.
        tell: called with a sentence about what is worth knowing, such as a damaged checkpoint.
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
    parameters = learned_in(lesson.learns)
    run = Run(
        folder,
        options,
        facts or {},
        parameters,
        Optimizers(
            parameters,
            name=options.optimizer,
            weight_decay=options.weight_decay,
            adam_betas=(options.adam_betas[0], options.adam_betas[1]),
        ),
        AveragedWeights(
            {k: p.detach().float().clone() for k, p in parameters.items()}, options.ema_decay
        ),
        Processes(),
    )
    run.resume(tell or _ignore)
    if run.step == 0:
        run.processes.first_alone(lambda: check_space(folder, parameters))
        run.save()
    _learn(run, lesson, on_save or _ignore_save, on_step or _ignore, tensorboard=tensorboard)
    weights = run.average.weights
    return weights if options.ema_decay else {k: p.detach() for k, p in parameters.items()}


def _learn(
    run: Run,
    lesson: Lesson,
    on_save: OnSave,
    on_step: Callable[[StepDone], None],
    *,
    tensorboard: bool,
) -> None:
    """Run the loop."""
    options, processes = run.options, run.processes
    device = next(iter(run.parameters.values())).device
    log = Log(run.folder, start=run.step, tensorboard=tensorboard) if processes.is_first else None
    clock = time.perf_counter()
    bad_in_a_row = 0
    batches = batches_from(run.step, lesson=lesson, options=options, processes=processes)
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
                logged = run.step % options.log_every == 0 or last
                if logged:
                    means = run.meter.taken()
                    if log is not None:
                        seconds = round(time.perf_counter() - clock, 2)
                        line = {"rate": rate, "skipped": run.skipped, "seconds": seconds}
                        log.write({"step": run.step, **means, **line})
                if log is not None:
                    on_step(StepDone(run.step, terms.get("loss", math.nan), rate, logged))
                if run.step % options.save_every == 0 or last or stop:
                    if log is not None:
                        log.sync()
                    run.save()
                    if processes.is_first and not stop:
                        on_save(run.step, run.average.weights, lambda: bool(stopping()))
                    if processes.count == 1 and not stop:  # with several, all stop after one step
                        stop = _KINDS.get(stopping())
                if stop and not last:
                    raise stop(
                        f"Stopped and saved after step {run.step}; the same command resumes."
                    )
    finally:
        if log is not None:
            log.close()


def learning_rate_at(step: int, options: Recipe) -> float:
    """The rate of one step: a linear warm-up, then constant or a cosine to a twentieth."""
    warm = min(1.0, (step + 1) / max(1, warmup_steps(options)))
    if options.schedule == "constant":
        return options.learning_rate * warm
    progress = step / max(1, options.steps)
    return options.learning_rate * warm * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * progress)))


def _backward(
    lesson: Lesson, options: Recipe, batches: Iterator[tuple[int, Any]], device: torch.device
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
    return dict(zip(terms, means, strict=True)), _KINDS.get(int(rows[:, 0].max()))


def _ignore(said: object) -> None:
    """Nobody listens."""
    del said


def _ignore_save(step: int, weights: dict[str, Tensor], stopping: Callable[[], bool]) -> None:
    """Nobody listens."""
    del step, weights, stopping


@contextmanager
def _stop_signal() -> Generator[Callable[[], int]]:
    """Record which of SIGTERM and SIGINT arrived, 0 for none; a second one ends the process at once."""
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
