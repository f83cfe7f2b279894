"""Markdown tables of declared options, for the documentation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from animatediff.options.declaration import Declared, in_groups


def option_tables(
    rows: Iterable[Declared], *, fields: Sequence[Declared] = (), level: int = 3
) -> str:
    """A heading and a table for each group of options.

    Args:
        rows: the options.
        fields: those whose field names are of use in Python and TOML, and shown.
        level: of the headings.
    """
    parts: list[str] = []
    for group, listed in in_groups(rows).items():
        lines = [f"{'#' * level} {group}", "", "| option | field | default | what it does |"]
        lines += [
            "| --- | --- | --- | --- |",
            *(_line(row, shows_field=row in fields) for row in listed),
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(row: Declared, *, shows_field: bool) -> str:
    option = row.option
    field = f"`{row.field}`" if shows_field else ""
    value = "" if option.positional or row.annotation is bool else f" {value_name(row)}"
    names = ", ".join([*option.aliases, row.flag])
    flag = "" if option.by_hand else f"`{names}{value}`"
    limits = ", ".join(part for part in (row.range, option.unit) if part)
    choices = f"One of {', '.join(f'`{choice}`' for choice in row.choices)}." if row.choices else ""
    about = " ".join(
        part for part in (option.help, choices, f"({limits})" if limits else "") if part
    )
    return f"| {_cell(flag)} | {field} | {_cell(row.default_text)} | {_cell(about)} |"


def value_name(row: Declared) -> str:
    """What the value of an option is called: its metavar, or one that fits its type."""
    if row.option.metavar:
        return row.option.metavar
    return {int: "N", float: "X"}.get(row.annotation, "NAME" if row.choices else "TEXT")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
