"""Which optimiser learns faster? Each goes on from the world's U-Net with the same samples and noise.

The rate warms up over 20 steps and falls to zero over the last 40 %; the loss is of 256 training
samples with fixed noise. Prints one line of JSON; run the candidates side by side, each on its own
core::

    taskset -c 0 python benchmarks/optimizers.py --optimizer adamw --rate 7e-4
    taskset -c 1 python benchmarks/optimizers.py --optimizer muon --rate 7e-4
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from animatediff.runtime import Runtime, seeded
from animatediff.training.lessons.lesson import Lesson
from animatediff.training.runs.batches import samples_of
from animatediff.training.steps.optimizers import OptimizerName, Optimizers
from animatediff.world.stages.image_stages import prepare_longer


@dataclass(frozen=True)
class Options:
    """One candidate."""

    optimizer: OptimizerName = "adamw"
    rate: float = 7e-4
    steps: int = 250
    batch_size: int = 32
    work: Path = Path("build/emoji")
    threads: int = 1


@torch.no_grad()
def fixed_loss(lesson: Lesson) -> float:
    """The mean loss of the same samples with the same noise."""
    batches = torch.randperm(lesson.size, generator=seeded(7))[:256].split(32)
    with torch.autocast("cpu", torch.bfloat16):
        losses = [lesson.losses(b, seeded(7, i))["loss"] for i, b in enumerate(batches)]
    return float(torch.stack(losses).mean())


def compare(options: Options) -> dict[str, float | str]:
    """Train a little; returns the loss before and after, and seconds a step."""
    Runtime(threads=options.threads).apply()
    lesson = prepare_longer(options.work)
    parameters = dict(lesson.learns.named_parameters())
    optimizer = Optimizers(parameters, name=options.optimizer, weight_decay=0.01)
    before, clock = fixed_loss(lesson), time.perf_counter()
    for step in range(options.steps):
        left = (options.steps - step) / (0.4 * options.steps)
        indices = samples_of(step, seed=1, size=lesson.size, batch_size=options.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            lesson.losses(indices, seeded(1, "step", step))["loss"].backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), 1.0)
        optimizer.step(rate=options.rate * min(1.0, (step + 1) / 20, left))
        lesson.learns.zero_grad(set_to_none=True)
    seconds = (time.perf_counter() - clock) / options.steps
    return {
        "optimizer": options.optimizer,
        "rate": options.rate,
        "before": before,
        "after": fixed_loss(lesson),
        "seconds_a_step": seconds,
    }


if __name__ == "__main__":
    print(json.dumps(compare(tyro.cli(Options))))
