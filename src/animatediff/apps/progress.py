"""Progress display: a bar with the remaining time, JSON lines for programs, or nothing."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Literal, Protocol, Self

ProgressStyle = Literal["auto", "json", "none"]


class Progress(Protocol):
    """Receives the progress of a command, stage by stage."""

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Start a stage with this many steps, if known; the previous one is done."""
        ...

    def at(self, done: int) -> None:
        """Report that this many steps of the stage are done."""
        ...

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """Report a result: a sentence for people, facts for programs."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def open_progress(style: ProgressStyle) -> Progress:
    """Open the progress display of a style; ``auto`` is a bar on a terminal and none elsewhere."""
    if style == "json":
        return JsonLines()
    if style == "auto" and sys.stderr.isatty():
        return Bar()
    return Quiet()


class Quiet:
    """Prints only results."""

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Print nothing."""

    def at(self, done: int) -> None:
        """Print nothing."""

    def tell(self, event: str, text: str, facts: dict[str, Any]) -> None:
        """Print the sentence."""
        print(text, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class Bar:
    """One bar on the error stream with the stage's remaining time; results on the output stream."""

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
        """Print the sentence, above the bar if both use the same terminal."""
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
    """One JSON object per line on the output stream: stages, steps with remaining seconds, results."""

    def __init__(self) -> None:
        self._stage = ""
        self._total: int | None = None
        self._started = 0.0

    def stage(self, name: str, *, total: int | None = None) -> None:
        """Print the start of a stage."""
        self._stage, self._total, self._started = name, total, time.monotonic()
        self._print({"event": "stage", "stage": name, "total": total})

    def at(self, done: int) -> None:
        """Print the progress of the stage."""
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
