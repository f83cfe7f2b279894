"""Context windows that change during the denoising steps, as ``0.5: uniform, overlap=8`` writes it.

ComfyUI-AnimateDiff-Evolved calls such a list of settings a group of context options.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from animatediff.errors import InputError
from animatediff.sampling.windows.plan import WINDOW_SCHEDULES, WindowPlan
from animatediff.sampling.windows.weights import WINDOW_WEIGHTS

_NUMBERS = {"length": 2, "overlap": 0, "stride": 1}
"""Settings that are numbers, and the least of each."""
Setting = str | int


def parse_window_change(text: str) -> tuple[float, dict[str, Setting]]:
    """The share of the steps from which a change holds, and the settings that it changes.

    Args:
        text: such as ``0.5: uniform, length=16, overlap=8, stride=2, weights=flat``.

    Raises:
        InputError: it is written differently, or a value is out of range.
    """
    begin, sign, rest = text.partition(":")
    try:
        start = float(begin)
    except ValueError:
        start = math.nan
    settings: dict[str, Setting] = {}
    for part in filter(None, (part.strip().lower() for part in rest.split(","))):
        name, given, value = (piece.strip() for piece in part.partition("="))
        if not given and name in WINDOW_SCHEDULES:
            settings["schedule"] = name
        elif name in _NUMBERS and value.isdecimal() and int(value) >= _NUMBERS[name]:
            settings[name] = int(value)
        elif name == "weights" and value in WINDOW_WEIGHTS:
            settings[name] = value
        else:
            raise InputError(
                f"{part!r:.40} in the window change {text!r:.60} is neither a schedule "
                f"({', '.join(WINDOW_SCHEDULES)}) nor one of length=N, overlap=N, stride=N and "
                f"weights=NAME ({', '.join(WINDOW_WEIGHTS)})."
            )
    if not sign or not 0 < start < 1 or not settings:
        raise InputError(
            f"{text!r:.60} is no window change; write the share of the steps from which it holds and "
            "what changes, such as '0.5: uniform, overlap=8'."
        )
    return start, settings


def with_changes(
    plan: WindowPlan, changes: Sequence[str], *, steps: int, closed: bool
) -> WindowPlan:
    """The plan, followed by changed ones.

    Args:
        plan: for the first steps.
        changes: texts for ``parse_window_change``; each changes the plan before it.
        steps: denoising steps of the animation.
        closed: whether it is a loop, which needs looped windows at every step.

    Raises:
        InputError: a change cannot be read, begins no later than the one before it, makes windows
            overlap by their whole length, or opens a loop.
    """
    now, before, later = plan, 0.0, list[tuple[int, WindowPlan]]()
    for text in changes:
        start, settings = parse_window_change(text)
        if start <= before:
            raise InputError(
                f"The window change {text!r:.60} does not begin after the one before it; list them in "
                "the order of the steps."
            )
        if closed and settings.get("schedule", "looped") != "looped":
            raise InputError(
                f"The window change {text!r:.60} opens the loop of --loop, which needs looped windows "
                "at every step; change other settings only."
            )
        length = min(int(settings.get("length", now.length)), plan.num_frames)
        overlap = int(settings.get("overlap", min(now.overlap, length - 1)))
        if overlap >= length and length < plan.num_frames:
            raise InputError(
                f"Context windows of {length} frames cannot overlap by {overlap} (window change "
                f"{text!r:.60}); use an overlap of at most {length - 1}."
            )
        numbers = {"length": length, "overlap": min(overlap, length - 1)}
        now = replace(now, **{**settings, **numbers})
        before = start
        later.append((math.ceil(start * steps - 1e-9), now))
    return replace(plan, later=tuple(later))
