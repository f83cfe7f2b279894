"""A cache of clip properties in a file, so that no clip is decoded twice for them."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.decoding.media import READER
from animatediff.errors import OutputError, reason_of

CACHE_FILE = "surveys.jsonl"


class FactsCache:
    """Clip properties, keyed by a hash that changes with the clip; one line of a file each.

    Args:
        path: the file, whose last line may be incomplete after a kill; ``None`` for memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known = {} if path is None else read_facts_cache(path)

    def __getitem__(self, clip: str) -> ClipFacts | None:
        return self._known.get(clip)

    def keep(self, clip: str, facts: ClipFacts) -> None:
        """Store the properties of a clip, once.

        Raises:
            OutputError: the file cannot be written.
        """
        if clip in self._known:
            return
        self._known[clip] = facts
        if self._path is None:
            return
        row = {"clip": clip, "reader": READER, "facts": asdict(facts)}
        line = json.dumps(row) + "\n"
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line)
        except OSError as error:
            reason = reason_of(error)
            raise OutputError(f"{self._path} cannot be written ({reason}).") from None


def read_facts_cache(path: Path) -> dict[str, ClipFacts]:
    """Load what earlier runs stored; incomplete or outdated lines are skipped."""
    known: dict[str, ClipFacts] = {}
    if not path.exists():
        return known
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
            if row["reader"] != READER:
                continue
            known[row["clip"]] = ClipFacts(**row["facts"] | {"cuts": tuple(row["facts"]["cuts"])})
        except (ValueError, KeyError, TypeError):
            continue
    return known
