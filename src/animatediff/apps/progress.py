"""What a user sees while waiting: a bar with the time left, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Literal, Protocol, Self

Style = Literal["auto", "json", "none"]


class Progress(Protocol):
    """Where a command tells how far it is, stage by stage."""

    def stage(self, name: str, *, total: int | None = None) -> None:
        """A new stage begins, of so many steps if that is known; the one before it is done."""
        ...

    def at(self, done: int) -> None:
        """So many steps of the stage are done."""
        ...

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """A result: a sentence for people, facts for programs."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def open_progress(style: Style) -> Progress:
    """The progress display of a style; ``auto`` is a bar on a terminal and no bar elsewhere."""
    if style == "json":
        return JsonLines()
    if style == "auto" and sys.stderr.isatty():
        return Bar()
    return Quiet()


class Quiet:
    """Results only."""

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Nothing to see."""

    def at(self, done: int) -> None:
        """Nothing to see."""

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """Print the sentence."""
        print(text, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Bar:
    """One bar on the error stream with the time left of the stage; results on the output stream."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description:<8}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = None

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Start the bar of a stage."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=total)

    def at(self, done: int) -> None:
        """Move the bar."""
        if self._task is not None:
            self._bar.update(self._task, completed=done)

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """Print the sentence; where it shares a terminal with the bar, above it."""
        if sys.stdout.isatty():
            self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, flush=True)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()


class JsonLines:
    """One JSON object a line on the output stream: stages, steps with seconds left, and results."""

    def __init__(self) -> None:
        self._stage = ""
        self._total: int | None = None
        self._started = 0.0

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Print that a stage begins."""
        self._stage, self._total, self._started = name, total, time.monotonic()
        self._print({"event": "stage", "stage": name, "total": total})

    def at(self, done: int) -> None:
        """Print how far the stage is."""
        line: dict[str, Any] = {"event": "step", "stage": self._stage, "done": done}
        if self._total and done:
            spent = time.monotonic() - self._started
            line["total"] = self._total
            line["seconds_left"] = round(spent / done * (self._total - done), 2)
        self._print(line)

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """Print the facts."""
        self._print({"event": event, "text": text, **facts})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _print(self, line: dict[str, Any]) -> None:
        print(json.dumps(line, ensure_ascii=True), flush=True)
