"""Compare optimisers: each continues from the built-in world's U-Net with the same samples and noise.

The learning rate warms up over 20 steps and falls to zero over the last 40 %. The loss is measured on
256 training samples with fixed noise, before and after. ``measure.py`` interleaves the steps of the
optimisers, so their times can be compared, and writes the report::

    python benchmarks/optimizers.py --optimizers adamw:7e-4 muon:7e-4
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch
import tyro
from measure import RESULTS, Report, Sample, interleaved

from animatediff.runtime import Runtime, seeded
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.recipe import OptimizerName
from animatediff.training.runs.batches import samples_of
from animatediff.training.steps.optimizers import Optimizers
from animatediff.world.stages.image_stages import prepare_longer


@dataclass(frozen=True)
class Options:
    """What to compare."""

    optimizers: tuple[str, ...] = ("adamw:7e-4", "muon:7e-4")
    """Each a name and its learning rate."""
    steps: int = 250
    batch_size: int = 32
    work: Path = Path("build/emoji")
    threads: int = 1
    out: Path = RESULTS
    """The folder of the report."""


@torch.no_grad()
def fixed_loss(lesson: Lesson) -> float:
    """The mean loss of the same samples with the same noise."""
    batches = torch.randperm(lesson.size, generator=seeded(7))[:256].split(32)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [lesson.losses(b, seeded(7, i))["loss"] for i, b in enumerate(batches)]
    return float(torch.stack(losses).mean())


def training(candidate: str, options: Options) -> Iterator[Sample]:
    """Train with one optimiser; each item is one step, with the fixed loss after the last one."""
    name, _, rate = candidate.partition(":")
    if name not in get_args(OptimizerName):
        raise SystemExit(f"There is no optimiser {name!r}; known are {get_args(OptimizerName)}.")
    lesson = prepare_longer(options.work)
    parameters = dict(lesson.learns.named_parameters())
    optimizer = Optimizers(parameters, name=cast(OptimizerName, name), weight_decay=0.01)
    before = fixed_loss(lesson)
    for step in range(options.steps):
        wall, cpu = time.perf_counter(), time.process_time()
        left = (options.steps - step) / (0.4 * options.steps)
        indices = samples_of(step, seed=1, size=lesson.size, batch_size=options.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            lesson.losses(indices, seeded(1, "step", step))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step(rate=float(rate) * min(1.0, (step + 1) / 20, left))
        lesson.learns.zero_grad(set_to_none=True)
        seconds = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
        if step == options.steps - 1:
            print(f"{candidate}: loss {before:.4f} before, {fixed_loss(lesson):.4f} after")
        yield Sample(seconds)


def main(options: Options) -> None:
    """Train with every optimiser in turn, a step each, and write the report."""
    Runtime(threads=options.threads).apply()
    runs = {candidate: training(candidate, options) for candidate in options.optimizers}
    measured = interleaved(
        {candidate: lambda steps=steps: next(steps) for candidate, steps in runs.items()},
        rounds=options.steps,
    )
    report = Report(
        name="optimizers",
        title="Training steps with several optimisers",
        setting=f"{options.steps} steps of {options.batch_size} stills on the built-in image model.",
        measured=measured,
        baseline=options.optimizers[0],
    )
    print(report.write(options.out))


if __name__ == "__main__":
    main(tyro.cli(Options))
