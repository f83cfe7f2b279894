"""Results as Markdown, for the model card and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable

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


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
