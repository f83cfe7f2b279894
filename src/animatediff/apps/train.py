"""``animatediff train``: run one stage of the recipe on a world folder, or go on with it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True)
class Options:
    """Train one stage; a stage that was stopped goes on where it was."""

    stage: Annotated[str, tyro.conf.Positional]
    """Which row of the recipe; an unknown name lists them."""
    work: Path = Path("build/emoji")
    """The world folder, as ``animatediff dataset emoji`` made it."""
    steps: int | None = None
    """Optimiser steps in all, instead of the recipe's."""
    threads: int | None = None
    """CPU threads."""


def train_stage(options: Options) -> int:
    """Train, store what was learned, and print where."""
    from animatediff.runtime import Runtime
    from animatediff.training.stages import stage_named
    from animatediff.training.trainer import train

    Runtime(threads=options.threads).apply()
    stage = stage_named(options.stage)
    recipe = stage.options
    if options.steps is not None:
        recipe = dataclasses.replace(recipe, steps=options.steps)
    print(f"{options.stage}: {stage.learns}; {recipe.steps} steps", flush=True)
    lesson = stage.prepare(options.work)
    folder = options.work / "runs" / options.stage
    learned = train(lesson, recipe, folder)
    print(f"kept {stage.keep(options.work, lesson, learned)}")
    last = (folder / "metrics.jsonl").read_text().splitlines()[-1]
    print(json.dumps(json.loads(last)))
    return 0
