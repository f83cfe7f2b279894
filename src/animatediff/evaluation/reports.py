"""Write results as JSON: a frozen dataclass, with the command and versions that produced it."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from animatediff.errors import OutputError, reason_of

_PACKAGES = ("animatediff", "torch", "diffusers", "transformers", "numpy", "opencv-python-headless")


@dataclass(frozen=True)
class Row:
    """One row of a table of results.

    Attributes:
        name: what was measured.
        measured: the number with its interval.
        target: what it should be; empty without a target.
        met: whether the target is met; ``None`` without a target.
    """

    name: str
    measured: str
    target: str = ""
    met: bool | None = None


class Report(Protocol):
    """Anything with rows to print that can be written as JSON."""

    def rows(self) -> tuple[Row, ...]:
        """Return the rows of its table."""
        ...


def as_json(value: object) -> Any:
    """Convert dataclasses, tuples and mappings to JSON values; NaN and infinity become ``null``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_report(
    report: Report,
    path: Path,
    *,
    question: str,
    command: Sequence[str],
    options: object,
    facts: Mapping[str, str] | None = None,
) -> Path:
    """Write a report with its command and versions. The file is complete or absent.

    Args:
        report: the results.
        path: the file.
        question: what was asked.
        command: the command line.
        options: its options, with their defaults.
        facts: what else a reader wants to know, such as numbers of parameters.

    Raises:
        OutputError: the folder cannot be written.
    """
    content = {
        "question": question,
        "command": list(command),
        "options": as_json(options),
        "machine": {"system": platform.system(), "processor": platform.machine()},
        "versions": _versions(),
        **({"facts": dict(facts)} if facts else {}),
        "rows": [as_json(row) for row in report.rows()],
        "report": as_json(report),
    }
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False, default=str)
    temporary = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text + "\n", encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {reason_of(error)}.") from None
    return path


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
