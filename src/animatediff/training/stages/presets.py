"""Named ways to run a stage: values of its options and of its recipe.

``overfit-one-clip`` is the first thing to try with new data: a stage that cannot learn one clip by
heart in a few hundred steps will learn nothing of many. ``paper`` trains with the published values.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.training.recipe import Recipe


@dataclass(frozen=True)
class Preset:
    """Values that replace a stage's own.

    Attributes:
        options: of the stage's options, by name; those that it does not take are left out.
        recipe: makes the recipe of the stage's own.
    """

    recipe: Callable[[Recipe], Recipe]
    options: Mapping[str, Any] = field(default_factory=lambda: cast(dict[str, Any], {}))


def _overfit(recipe: Recipe) -> Recipe:
    """A constant rate, and the last weights instead of an average."""
    return replace(
        recipe,
        steps=min(recipe.steps, 300),
        warmup=min(recipe.warmup, 10),
        schedule="constant",
        ema_decay=0.0,
        log_every=10,
    )


OVERFIT = Preset(_overfit, {"clips": 1, "variations": 1, "null_text": 0.0, "noise_offset": 0.0})
"""One clip, one window of it, its caption never dropped, at a constant rate."""


def _published(recipe: Recipe, *, steps: int, batch_size: int) -> Recipe:
    """AdamW of the published training code: a constant rate, no warm-up, no average."""
    return replace(
        recipe,
        steps=steps,
        batch_size=batch_size,
        accumulate=1,
        learning_rate=1e-4,
        optimizer="adamw",
        adam_betas=(0.9, 0.999),
        weight_decay=0.01,
        warmup=0,
        schedule="constant",
        ema_decay=0.0,
        clip=1.0,
    )


WEBVID = {"size": 256, "frames": 16, "fps": 7.5, "null_text": 0.1}
"""256 x 256 pixels; 16 frames, every fourth of a video of 30 frames a second."""

PAPER: Mapping[str, Preset] = {
    "motion": Preset(lambda own: _published(own, steps=100_000, batch_size=4), WEBVID),
    "motion-convolution": Preset(lambda own: _published(own, steps=100_000, batch_size=4), WEBVID),
    "domain-adapter": Preset(lambda own: _published(own, steps=10_000, batch_size=32), WEBVID),
    "motion-lora": Preset(lambda own: _published(own, steps=2_000, batch_size=4), WEBVID),
}
"""For each stage of the paper.

The released code has the motion module's values (guoyww/AnimateDiff, ``configs/training/v1``): batch 4
for each process, rate 1e-4, betas 0.9 and 0.999, 256 pixels, 16 frames at stride 4. Sec. 4.3 has the
2,000 steps of a MotionLoRA. What was not published is set likewise: the adapter's batch and steps are
those of CameraCtrl's (hehao13/CameraCtrl), the motion module's 100,000 steps are a choice.
"""


def preset_named(name: str, *, stage: str) -> Preset:
    """The preset of that name for a stage.

    Raises:
        InputError: there is none, or the stage has none of that name.
    """
    known = {"overfit-one-clip": OVERFIT, **({"paper": PAPER[stage]} if stage in PAPER else {})}
    if name in known:
        return known[name]
    if name == "paper":
        raise InputError(
            f"The preset paper is for the paper's stages ({', '.join(PAPER)}), and {stage} is not one "
            "of them; leave --preset out."
        )
    close = nearest(name, known)
    hint = f"did you mean {close}?" if close else f"choose one of {', '.join(known)}."
    raise InputError(f"There is no preset {name!r}; {hint}")
