"""What was seen of clips, kept in a file, so that no clip is looked at twice."""

from __future__ import annotations

import json
from pathlib import Path

from animatediff.data.survey import ClipFacts

SURVEYS = "surveys.jsonl"


def read_surveys(path: Path) -> dict[str, ClipFacts]:
    """What earlier runs saw; the last line of one that was killed may be torn."""
    known: dict[str, ClipFacts] = {}
    if not path.exists():
        return known
    for line in path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
            known[row["clip"]] = ClipFacts(**row["facts"] | {"cuts": tuple(row["facts"]["cuts"])})
        except (ValueError, KeyError, TypeError):
            continue
    return known
