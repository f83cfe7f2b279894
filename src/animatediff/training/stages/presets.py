"""Named ways to run a stage. ``overfit-one-clip`` is the first thing to try with anything new.

A stage that cannot learn one clip by heart in a few hundred steps will learn nothing of many.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.training.lessons.lesson import TrainOptions
from animatediff.training.stages.setup import Setup

Preset = Callable[[Setup, TrainOptions], tuple[Setup, TrainOptions]]


def overfit_one_clip(setup: Setup, options: TrainOptions) -> tuple[Setup, TrainOptions]:
    """One clip, one window of it, its caption always told, at a constant rate."""
    once = replace(
        options,
        steps=min(options.steps, 300),
        warmup=min(options.warmup, 10),
        schedule="constant",
        ema_decay=0.0,
        log_every=10,
    )
    return replace(setup, clips=1, variations=1, null_text=0.0, noise_offset=0.0), once


PRESETS: dict[str, Preset] = {"overfit-one-clip": overfit_one_clip}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        InputError: there is none.
    """
    if name not in PRESETS:
        close = nearest(name, PRESETS)
        known = f"did you mean {close}?" if close else f"choose one of {', '.join(PRESETS)}."
        raise InputError(f"There is no preset {name!r}; {known}")
    return PRESETS[name]
