"""Metrics of a run: means since the last line, in a file that survives a crash.

``metrics.jsonl`` has one line per ``log_every`` steps. It is truncated to the step from which a run
resumes, so it has neither gaps nor repetitions. TensorBoard shows the same numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any, Protocol

from animatediff.errors import InputError, OutputError, reason_of

METRICS = "metrics.jsonl"


class Meter:
    """Means since the last line; a number may be missing at some steps (NaN)."""

    def __init__(self, state: Mapping[str, tuple[float, int]] | None = None) -> None:
        self._sums = {name: (float(total), int(n)) for name, (total, n) in (state or {}).items()}

    def add(self, terms: Mapping[str, float]) -> None:
        """Add one step's numbers."""
        for name, value in terms.items():
            total, count = self._sums.get(name, (0.0, 0))
            seen = not math.isnan(value)
            self._sums[name] = (total + value, count + 1) if seen else (total, count)

    def state(self) -> dict[str, tuple[float, int]]:
        """Return the state that a resumed run needs."""
        return dict(self._sums)

    def taken(self) -> dict[str, float | None]:
        """Return the means and reset; numbers that were always missing are left out."""
        means = {name: t / n if n else None for name, (t, n) in self._sums.items()}
        self._sums.clear()
        return means


class Board(Protocol):
    """The part of a TensorBoard writer that is used."""

    def add_scalar(self, tag: str, value: float, step: int) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


def open_board(folder: Path, *, start: int) -> Board:
    """Open TensorBoard's files in ``folder``, without what came after ``start``.

    Raises:
        InputError: TensorBoard is not installed.
    """
    return board_module().SummaryWriter(str(folder), purge_step=start + 1)


def board_module() -> Any:
    """Return the writer of TensorBoard's files.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise InputError("TensorBoard is not installed; install the extra `train`.") from None


class Log:
    """``metrics.jsonl`` of a run, and optionally TensorBoard's files."""

    def __init__(self, folder: Path, *, start: int, tensorboard: bool) -> None:
        self._path = path = folder / METRICS
        with written_to(path):
            folder.mkdir(parents=True, exist_ok=True)
            self._board = open_board(folder / "tensorboard", start=start) if tensorboard else None
            if path.exists():
                kept = [line for line in read_metrics(path) if line["step"] <= start]
                temporary = path.with_suffix(".tmp")
                temporary.write_text("".join(f"{json.dumps(line)}\n" for line in kept))
                temporary.replace(path)
            self._file = path.open("a")

    def write(self, facts: Mapping[str, Any]) -> None:
        """Write one line.

        Raises:
            OutputError: it cannot be written.
        """
        with written_to(self._path):
            self._file.write(json.dumps(facts) + "\n")
            self._file.flush()
            if self._board is not None:
                for name, value in facts.items():
                    if name != "step" and value is not None:
                        self._board.add_scalar(name, value, facts["step"])

    def sync(self) -> None:
        """Flush every line to the disk, before a checkpoint that relies on them."""
        with written_to(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files; a full disk was reported when it was written to."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._board is not None:
            self._board.close()


@contextlib.contextmanager
def written_to(path: Path) -> Generator[None]:
    """Turn a write error into one sentence.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = reason_of(error)
        raise OutputError(
            f"{path} cannot be written ({reason}); free some space or choose another folder, then "
            "run the same command to resume."
        ) from None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Read the complete lines of ``metrics.jsonl``; a crash may have cut the last one."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
