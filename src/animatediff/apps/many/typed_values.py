"""Fields of a request by the names and values that people type in tables and after ``--x``.

A field may be named as in Python (``motion_loras``) or as on the command line (``motion-lora``).
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.options.declaration import Declared, declared
from animatediff.sampling.request import AnimationRequest

NONE = "none"
"""The word for an empty list, an empty text, or the model's own choice."""
SEPARATOR = ";"
"""Between the items of a list that is written as one text."""


def field_named(word: str, *, source: str) -> Declared:
    """The field that a word names.

    Args:
        word: a field, or an option without its dashes.
        source: what the word was read from, for the message.

    Raises:
        InputError: there is no such field; the nearest one is named.
    """
    plain = word.strip().lstrip("-").replace("_", "-")
    rows = {name: row for row in declared(AnimationRequest) for name in _names(row)}
    if plain in rows:
        return rows[plain]
    for row in declared(AnimationRequest):
        if plain in row.option.foreign or word in row.option.foreign:
            raise InputError(f"{source} has no field {word!r:.40}; use {_shown(row)}.")
    close = nearest(plain, rows)
    remedy = f"did you mean {close}?" if close else f"known are {', '.join(sorted(rows))}."
    raise InputError(f"{source} has no field {word!r:.40}; {remedy}")


def value_typed(row: Declared, text: str, *, source: str) -> Any:
    """The value that a text stands for in a field.

    Args:
        row: the field.
        text: such as ``7.5``, ``yes``, ``none`` or ``zoom-in:1; pan-left:0.5``.
        source: what the text was read from, for the message.

    Raises:
        InputError: the text does not fit the field.
    """
    text = text.strip()
    if row.is_list:
        return [] if text.lower() in ("", NONE) else [i.strip() for i in text.split(SEPARATOR)]
    if row.nullable and text.lower() in ("", NONE) and row.field != "motion":
        return None
    if typing.get_origin(row.annotation) is Mapping:
        raise InputError(f"{source}: {row.field} is a table, which a single text cannot be.")
    if row.annotation is bool:
        return _truth(row, text, source=source)
    if row.annotation is int:
        return _number(row, text, int, "a whole number", source=source)
    if row.annotation is float:
        return _number(row, text, float, "a number", source=source)
    if row.field in ("vae", "adapter") and text.lower() == NONE:
        return ""
    return text


def plain_value(value: object) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, Fraction):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _names(row: Declared) -> tuple[str, ...]:
    named = row.option.name or row.field
    return (row.field.replace("_", "-"), named.replace("_", "-"))


def _shown(row: Declared) -> str:
    return row.option.name or row.field.replace("_", "-")


def _truth(row: Declared, text: str, *, source: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True}
    words |= {"false": False, "no": False, "off": False, "0": False, "": False, NONE: False}
    if text.lower() not in words:
        raise InputError(f"{source}: {row.field} = {text!r:.40} is neither yes nor no.")
    return words[text.lower()]


def _number(row: Declared, text: str, kind: type, what: str, *, source: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InputError(f"{source}: {row.field} = {text!r:.40} is not {what}.") from None
