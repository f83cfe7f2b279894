"""Skip bad clips with a recorded reason; too many of them stop the run.

A trainer that ignores every error and draws another clip hangs if all of them are bad, and hides it
if many are. Here each bad clip is one line of ``quarantine.jsonl``, and there is a limit. All of
this happens before the first step (``data/checking/probing.py``).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from animatediff.data.layouts.listing import BrokenRow
from animatediff.errors import FileError, InputError, OutputError, reason_of

FILE = "quarantine.jsonl"
MAX_BAD = 0.1


class Quarantine:
    """The bad clips of one dataset.

    Args:
        total: number of clips, including bad ones.
        path: the file for the reasons, started anew; ``None`` for memory only.
        max_bad: the share of clips that may be bad.

    Raises:
        InputError: the share is not from 0 to 1.
        OutputError: the file cannot be written.
    """

    def __init__(self, total: int, *, path: Path | None = None, max_bad: float = MAX_BAD) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f"The share of bad clips must be from 0 to 1, not {max_bad:g}.")
        self._total, self._max_bad, self._path = total, max_bad, path
        self._reasons: dict[str, str] = {}
        if path is not None:
            self._write("", "wb")

    @property
    def reasons(self) -> Mapping[str, str]:
        """The reason for each bad clip, by key, in the order of recording."""
        return MappingProxyType(self._reasons)

    @property
    def overfull(self) -> bool:
        """Whether more clips are bad than allowed."""
        return len(self._reasons) > self._max_bad * self._total

    def set_aside(self, key: str, reason: str) -> None:
        """Record a bad clip and stop if there are too many; the same clip counts once.

        Raises:
            FileError: too many clips are bad.
            OutputError: the file cannot be written.
        """
        self.note(key, reason)
        self.check()

    def note(self, key: str, reason: str) -> None:
        """Record a bad clip without checking the limit.

        Raises:
            OutputError: the file cannot be written.
        """
        if key in self._reasons:
            return
        self._reasons[key] = reason
        line = json.dumps({"clip": key, "reason": reason}, ensure_ascii=False) + "\n"
        self._write(line, "ab")

    def note_rows(self, broken: Iterable[BrokenRow]) -> None:
        """Record rows that were already wrong when the dataset was listed."""
        for row in broken:
            self.note(row.key, row.reason)

    def check(self) -> None:
        """Stop if too many clips are bad.

        Raises:
            FileError: too many are; the error gives the first reason and the file with the others.
        """
        if not self.overfull:
            return
        first = next(iter(self._reasons.values())).rstrip(".")
        where = f"; all reasons are in {self._path}" if self._path else ""
        raise FileError(
            f"{len(self._reasons)} of {self._total} clips are bad, and at most {self._max_bad:.0%} "
            f"may be: {first}{where}."
        )

    def _write(self, text: str, mode: str) -> None:
        if self._path is None:
            return
        try:
            with self._path.open(mode) as file:
                file.write(text.encode("utf-8", "surrogatepass"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            reason = reason_of(error)
            raise OutputError(f"{self._path} cannot be written ({reason}).") from None
