"""The samples of a micro-batch: a pure function of the seed and its number.

A run that is killed and restarted therefore repeats the uninterrupted run bit for bit, and reading
ahead in other processes changes nothing.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from animatediff.errors import FileError
from animatediff.runtime import seeded
from animatediff.training.lessons.lesson import Fetch, Lesson
from animatediff.training.recipe import Recipe
from animatediff.training.steps.processes import Processes


def samples_of(step: int, *, seed: int, size: int, batch_size: int) -> Int[Tensor, " batch"]:
    """Return the indices of one batch: each epoch has every sample once, in its own order."""
    positions = torch.arange(step * batch_size, (step + 1) * batch_size)
    passes = positions // size
    orders = {
        int(p): torch.randperm(size, generator=seeded(seed, "order", int(p)))
        for p in passes.unique()
    }
    return torch.stack(
        [orders[int(p)][int(i) % size] for p, i in zip(passes, positions, strict=True)]
    )


@dataclass(frozen=True)
class MicroBatches(Dataset[tuple[int, Any]]):
    """Every micro-batch of a run by number, independent of who reads it."""

    fetch: Fetch
    size: int
    seed: int
    batch_size: int

    def __getitem__(self, number: int) -> tuple[int, Any]:
        """Read a micro-batch; returns it, or the error, with its number."""
        indices = samples_of(number, seed=self.seed, size=self.size, batch_size=self.batch_size)
        try:
            return number, self.fetch(indices, seeded(self.seed, "data", number))
        except (
            FileError
        ) as error:  # returned as a value, an exception survives the way out of a process
            return number, error


def batches_from(
    step: int, *, lesson: Lesson, options: Recipe, processes: Processes
) -> Iterator[tuple[int, Any]]:
    """Yield this process's micro-batches from a step on, read ahead if there are workers."""
    data = MicroBatches(lesson.fetch, lesson.size, options.seed, options.batch_size)
    numbers = [
        (later * options.accumulate + part) * processes.count + processes.rank
        for later in range(step, options.steps)
        for part in range(options.accumulate)
    ]
    if options.num_workers == 0:
        return (data[number] for number in numbers)
    return _read_ahead(data, numbers, options)


def _read_ahead(
    data: MicroBatches, numbers: Sequence[int], options: Recipe
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
    """Ignore Ctrl-C, which reaches every process of a terminal; only the trainer handles it."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
