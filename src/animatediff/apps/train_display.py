"""What ``animatediff train`` shows: a live bar on a terminal, plain lines elsewhere, or JSON lines."""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any, Protocol, Self

from animatediff.apps.progress import ProgressStyle
from animatediff.training.runs.trainer import StepDone


class Display(Protocol):
    """Shows a run to its user."""

    def say(self, sentence: str) -> None:
        """Show a sentence."""
        ...

    def step(self, done: StepDone) -> None:
        """Show an optimizer step."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def open_display(style: ProgressStyle, *, steps: int, is_first: bool = True) -> Display:
    """The display of a style; ``auto`` is a bar on a terminal and plain lines elsewhere.

    Args:
        style: how to show the run.
        steps: how many there are.
        is_first: whether this is the process that shows anything.
    """
    if not is_first:
        return Silent()
    if style == "json":
        return JsonDisplay(steps)
    if style == "none":
        return Sentences()
    return LiveBar(steps) if sys.stderr.isatty() else PlainLines(steps)


class Pace:
    """Remaining time of a run, from the mean time of its steps since it began or resumed."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._first: int | None = None
        self._began = time.monotonic()

    def seconds_left(self, step: int) -> float:
        """Seconds that the remaining steps will take; NaN after the first step, which also warms up."""
        if self._first is None:
            self._first, self._began = step, time.monotonic()
            return math.nan
        spent = time.monotonic() - self._began
        return spent / (step - self._first) * (self._steps - step)


class Silent:
    """Shows nothing: other processes than the first."""

    def say(self, sentence: str) -> None:
        """Show nothing."""

    def step(self, done: StepDone) -> None:
        """Show nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Sentences:
    """Prints sentences, but no steps."""

    def say(self, sentence: str) -> None:
        """Print it."""
        print(sentence, flush=True)

    def step(self, done: StepDone) -> None:
        """Print nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class PlainLines:
    """Prints a line for every line of ``metrics.jsonl``."""

    def __init__(self, steps: int) -> None:
        self._steps, self._pace = steps, Pace(steps)

    def say(self, sentence: str) -> None:
        """Print it."""
        print(sentence, flush=True)

    def step(self, done: StepDone) -> None:
        """Print the step, if it was logged."""
        left = self._pace.seconds_left(done.step)
        if done.logged:
            print(line_of(done, steps=self._steps, seconds_left=left), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class JsonDisplay:
    """Prints one JSON object per line: sentences, and logged steps."""

    def __init__(self, steps: int) -> None:
        self._steps, self._pace = steps, Pace(steps)

    def say(self, sentence: str) -> None:
        """Print it as JSON."""
        self._print({"event": "note", "text": sentence})

    def step(self, done: StepDone) -> None:
        """Print the step, if it was logged."""
        left = self._pace.seconds_left(done.step)
        if done.logged:
            self._print(
                {
                    "event": "step",
                    "done": done.step,
                    "total": self._steps,
                    "loss": None if math.isnan(done.loss) else done.loss,
                    "rate": done.rate,
                    "seconds_left": None if math.isnan(left) else round(left, 1),
                    "memory": peak_memory(),
                }
            )

    def _print(self, line: dict[str, Any]) -> None:
        print(json.dumps(line, ensure_ascii=True), flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class LiveBar:
    """One live line on the error stream; sentences above it."""

    def __init__(self, steps: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._steps, self._pace = steps, Pace(steps)
        self._bar = Progress(
            BarColumn(bar_width=24),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("preparing", total=steps)

    def say(self, sentence: str) -> None:
        """Print it above the bar."""
        if sys.stdout.isatty():
            self._bar.console.print(sentence, markup=False, highlight=False, soft_wrap=True)
        else:
            print(sentence, flush=True)

    def step(self, done: StepDone) -> None:
        """Move the bar."""
        left = self._pace.seconds_left(done.step)
        text = line_of(done, steps=self._steps, seconds_left=left)
        self._bar.update(self._task, completed=done.step, description=text)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


def line_of(done: StepDone, *, steps: int, seconds_left: float) -> str:
    """A step as one line: its number, loss, learning rate, remaining time and memory."""
    loss = "-" if math.isnan(done.loss) else f"{done.loss:.4f}"
    parts = [f"step {done.step}/{steps}", f"loss {loss}", f"rate {done.rate:.2e}"]
    if not math.isnan(seconds_left):
        parts.append(f"ETA {duration(seconds_left)}")
    memory = peak_memory()
    if memory is not None:
        parts.append(f"memory {memory / 1e9:.1f} GB")
    return "  ".join(parts)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, such as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def peak_memory() -> int | None:
    """The most bytes that this run has used: of the GPU if it has one, else of the process."""
    import torch

    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
