"""What is seen of a run while it learns: means since the last line, in a file that survives a crash.

``metrics.jsonl`` has one line for each ``log_every`` steps. It is cut back to the step that a resumed
run goes on from, so that it has neither gaps nor repeats. TensorBoard shows the same numbers.
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
    """Means since the last line, of numbers that need not be there at every step (NaN)."""

    def __init__(self, state: Mapping[str, tuple[float, int]] | None = None) -> None:
        self._sums = {name: (float(total), int(n)) for name, (total, n) in (state or {}).items()}

    def add(self, terms: Mapping[str, float]) -> None:
        """Count one step's numbers."""
        for name, value in terms.items():
            total, count = self._sums.get(name, (0.0, 0))
            seen = not math.isnan(value)
            self._sums[name] = (total + value, count + 1) if seen else (total, count)

    def state(self) -> dict[str, tuple[float, int]]:
        """What a resumed run needs to go on counting."""
        return dict(self._sums)

    def taken(self) -> dict[str, float | None]:
        """The means, and start anew; nothing where a number was never there."""
        means = {name: t / n if n else None for name, (t, n) in self._sums.items()}
        self._sums.clear()
        return means


class Board(Protocol):
    """A TensorBoard writer, as far as it is used."""

    def add_scalar(self, tag: str, value: float, step: int) -> None: ...  # noqa: D102

    def close(self) -> None: ...  # noqa: D102


def open_board(folder: Path, *, start: int) -> Board:
    """TensorBoard's own files in ``folder``, without what came after ``start``.

    Raises:
        InputError: TensorBoard is not installed.
    """
    return board_module().SummaryWriter(str(folder), purge_step=start + 1)


def board_module() -> Any:
    """What writes TensorBoard's files.

    Raises:
        InputError: TensorBoard is not installed.
    """
    try:
        return importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        raise InputError(
            "TensorBoard is not installed; install it with `pip install 'animatediff[train]'`."
        ) from None


class Log:
    """``metrics.jsonl`` of a run, and TensorBoard's files where they are wanted."""

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
        """One line.

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
        """Have every line on the disk, as a checkpoint that counts on them is about to be."""
        with written_to(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the files; what a full disk did not take was told when it was written."""
        with contextlib.suppress(OSError):
            self._file.close()
        if self._board is not None:
            self._board.close()


@contextlib.contextmanager
def written_to(path: Path) -> Generator[None]:
    """Turn a file that cannot be written into one sentence.

    Raises:
        OutputError: it cannot.
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
    """The whole lines of ``metrics.jsonl``; the last one may have been cut off by a crash."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
