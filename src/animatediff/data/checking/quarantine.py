"""Bad clips are set aside with their reasons; too many of them stop the run, and none loops for ever.

A trainer that swallows every error and draws another clip hangs when all of them are bad, and hides
it when many are. Here each bad clip is one line of ``quarantine.jsonl``, and there is a limit; all of
it is settled before the first step (``data/checking/probing.py``).
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
    """The bad clips of one data set.

    Args:
        total: how many clips there are, the bad ones among them.
        path: the file to keep them in, begun anew; ``None`` keeps them in memory alone.
        max_bad: the share of clips that may be bad.

    Raises:
        InputError: the share is not from 0 to 1.
        OutputError: the file cannot be written.
    """

    def __init__(self, total: int, *, path: Path | None = None, max_bad: float = MAX_BAD) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f"The share of clips that may be bad is from 0 to 1, not {max_bad:g}.")
        self._total, self._max_bad, self._path = total, max_bad, path
        self._reasons: dict[str, str] = {}
        if path is not None:
            self._write("", "wb")

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why each clip was set aside, by its key, in the order in which it was."""
        return MappingProxyType(self._reasons)

    @property
    def overfull(self) -> bool:
        """Whether more clips are bad than may be."""
        return len(self._reasons) > self._max_bad * self._total

    def set_aside(self, key: str, reason: str) -> None:
        """Keep a bad clip's reason; the same clip counts once.

        Raises:
            FileError: too many clips are bad now.
            OutputError: the file cannot be written.
        """
        self.note(key, reason)
        self.check()

    def note(self, key: str, reason: str) -> None:
        """Keep a bad clip's reason, however many there are.

        Raises:
            OutputError: the file cannot be written.
        """
        if key in self._reasons:
            return
        self._reasons[key] = reason
        line = json.dumps({"clip": key, "reason": reason}, ensure_ascii=False) + "\n"
        self._write(line, "ab")

    def note_rows(self, broken: Iterable[BrokenRow]) -> None:
        """Keep the rows that were wrong already when the data set was listed."""
        for row in broken:
            self.note(row.key, row.reason)

    def check(self) -> None:
        """Stop where too many clips are bad.

        Raises:
            FileError: they are; the first reason is told, and where the others are.
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
