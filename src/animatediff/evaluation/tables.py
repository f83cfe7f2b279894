"""Results as Markdown, for the model card and for the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from animatediff.errors import FileError
from animatediff.evaluation.reports import Row

_VERDICT = {True: "yes", False: "**no**", None: ""}


def render_rows(rows: Iterable[Row]) -> str:
    """Render rows as a Markdown table with the columns what, measured, target and met."""
    lines = ["| what | measured | target | met |", "|---|---|---|---|"]
    lines += [
        f"| {_cell(row.name)} | {_cell(row.measured)} | {_cell(row.target)} | {_VERDICT[row.met]} |"
        for row in rows
    ]
    return "\n".join(lines)


def render_results(folder: Path) -> str:
    """Render every result of a folder as Markdown, with one section per question.

    Raises:
        FileError: the folder contains no result, or a file that is not a result.
    """
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise FileError(f"{folder} contains no results (*.json); run `animatediff evaluate` first.")
    return "\n\n".join(_section(path) for path in paths) + "\n"


def _section(path: Path) -> str:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = [Row(**row) for row in content["rows"]]
        heading, command = str(content["question"]), " ".join(content["command"])
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError):
        raise FileError(f"{path} was not written by `animatediff evaluate`.") from None
    return f"### {heading}\n\n`{command}`\n\n{render_rows(rows)}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
