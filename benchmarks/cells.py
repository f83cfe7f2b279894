"""The cells of ``sweep.py``'s table, and the file of those that are measured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measure import processor

SIZES, FRAMES, THREADS = (256, 512), (8, 16, 64), (1, 2)
PRECISIONS = ("fp32", "bf16")
WAYS = ("ours", "diffusers")


@dataclass(frozen=True, order=True)
class Cell:
    """One cell of the table."""

    precision: str
    size: int
    frames: int
    threads: int
    width: float = 1.0

    @property
    def work(self) -> float:
        """Relative to 8 frames at 256 px."""
        return (self.size / 256) ** 2 * self.frames / 8 * self.width**2


def known(path: Path) -> dict[Cell, dict[str, Any]]:
    """The cells that this processor measured, the last line of each; unfinished lines are skipped."""
    found: dict[Cell, dict[str, Any]] = {}
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry["processor"] == processor():
            found[Cell(**entry["cell"])] = entry
    return found
