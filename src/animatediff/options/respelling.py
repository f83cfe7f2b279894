"""Replace what people type by the choice that it stands for, where an option declares how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from animatediff.options.declaration import declared

T = TypeVar("T")


def respelled_table(cls: type, table: Mapping[str, Any]) -> dict[str, Any]:
    """A table for a dataclass, with every choice spelled as the dataclass spells it.

    Raises:
        InputError: a choice is known, and not supported.
    """
    found = dict(table)
    for row in declared(cls):
        typed = found.get(row.field)
        if row.option.respell is not None and isinstance(typed, str):
            found[row.field] = row.option.respell(typed)
    return found


def respelled(value: T) -> T:
    """A dataclass value with every choice spelled as the dataclass spells it.

    Raises:
        InputError: a choice is known, and not supported.
    """
    fields: dict[str, Any] = {
        row.field: getattr(value, row.field)
        for row in declared(type(value))
        if row.option.respell is not None
    }
    return dataclasses.replace(value, **respelled_table(type(value), fields))  # pyright: ignore[reportArgumentType, reportCallIssue, reportType] - a dataclass
