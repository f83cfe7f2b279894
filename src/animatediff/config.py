"""Convert TOML to frozen dataclasses and back, strictly: anything unknown is an error.

Plain frozen dataclasses are the only configuration type here, each defined beside the code that it
configures. Nothing in a file can name a class, an environment variable or another file to include.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from animatediff.errors import FileError, InputError, reason_of

T = TypeVar("T")

MAX_TOML_BYTES = 1 << 20


def load_toml(path: str | Path, cls: type[T]) -> T:
    """Read a TOML file as a frozen dataclass.

    Raises:
        FileError: the file is missing, unreadable, over 1 MiB, or not TOML.
        InputError: a key is unknown (the nearest known one is named), missing, or has a wrong type.
    """
    return from_table(read_toml(path), cls, source=str(path))


def read_toml(path: str | Path) -> dict[str, Any]:
    """Read a TOML file as a table.

    Raises:
        FileError: the file is missing, unreadable, over 1 MiB, or not TOML.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_TOML_BYTES:
            raise FileError(f"{path} has {size} bytes; a configuration may have at most 1 MiB.")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} is not TOML: it is not UTF-8 text.") from None
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{path} is not TOML: {_sentence(str(error))}") from None


def from_table(table: Mapping[str, Any], cls: type[T], *, source: str) -> T:
    """Convert nested plain data to ``cls``; ``source`` starts the error messages.

    Raises:
        InputError: as for ``load_toml``.
    """
    _refuse_unknown_keys(table, cls, source=source, prefix="")
    try:
        # As JSON, because strict parsing then still accepts an array as a tuple and a string as a
        # path.
        return _adapter(cls).validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"]) or "the whole file"
        if first["type"] == "missing":
            raise InputError(f"{source} lacks {key}, which is required.") from None
        shown = _shortened(repr(first["input"]))
        reason = _sentence(first["msg"][0].lower() + first["msg"][1:])
        raise InputError(f"{source} says {key} = {shown}, but {reason}") from None


@functools.cache
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    """What checks tables of a class; pydantic takes tens of milliseconds to make it."""
    return TypeAdapter(cls)


def dump_toml(value: object) -> str:
    """Write a frozen dataclass as TOML that ``load_toml`` reads back as an equal value.

    ``None`` is written by leaving the key out, so a field that may be ``None`` must default to it.

    Raises:
        InputError: a field contains something that TOML cannot express.
    """
    return "\n".join(_table_lines(_plain(value), path=())).strip() + "\n"


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name closest to ``name``, if any is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _refuse_unknown_keys(
    table: Mapping[str, Any], annotation: object, *, source: str, prefix: str
) -> None:
    cls = _dataclass_in(annotation)
    if cls is None:
        return
    hints = typing.get_type_hints(cls)
    fields = [field.name for field in dataclasses.fields(cls) if field.init]
    for key, value in table.items():
        if key not in fields:
            close = nearest(key, fields)
            remedy = f"did you mean {close}?" if close else f"known are {', '.join(fields)}."
            raise InputError(f"{source} has the unknown key {prefix}{key}; {remedy}")
        if isinstance(value, Mapping):
            _refuse_unknown_keys(value, hints[key], source=source, prefix=f"{prefix}{key}.")
        elif isinstance(value, list):
            for index, item in enumerate(value):
                if isinstance(item, Mapping):
                    place = f"{prefix}{key}[{index}]."
                    _refuse_unknown_keys(item, hints[key], source=source, prefix=place)


def _dataclass_in(annotation: object) -> type | None:
    """Return the dataclass in an annotation such as ``Stage | None`` or ``tuple[Stage, ...]``.

    If a table may be one of several classes, pydantic decides.
    """
    if isinstance(annotation, type) and dataclasses.is_dataclass(annotation):
        return annotation
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, tuple, list):
        found = {_dataclass_in(argument) for argument in typing.get_args(annotation)} - {None}
        if len(found) == 1:
            return found.pop()
    return None


def _plain(value: object) -> Any:
    """Convert dataclasses, enums, fractions and paths to tables, lists and scalars of TOML."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        named = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value) if f.init)
        return {name: _plain(item) for name, item in named if item is not None}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Fraction | Path):
        return str(value)
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise InputError(f"A {type(value).__name__} cannot be written as TOML.")


def _table_lines(table: Mapping[str, Any], *, path: tuple[str, ...]) -> list[str]:
    """Write a table's scalars first, then its tables, as TOML requires."""
    lines = [
        f"{_key(key)} = {_literal(item)}"
        for key, item in table.items()
        if not isinstance(item, Mapping)
    ]
    for key, item in table.items():
        if isinstance(item, Mapping):
            here = (*path, key)
            lines += ["", f"[{'.'.join(map(_key, here))}]", *_table_lines(item, path=here)]
    return lines


def _literal(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return repr(value) if math.isfinite(value) else str(value)
        case str():
            return _quoted(value)
        case Mapping():
            return "{" + ", ".join(f"{_key(k)} = {_literal(v)}" for k, v in value.items()) + "}"
        case _:
            return "[" + ", ".join(_literal(item) for item in value) + "]"


def _key(name: str) -> str:
    bare = name and all(c.isascii() and (c.isalnum() or c in "-_") for c in name)
    return name if bare else _quoted(name)


def _quoted(text: str) -> str:
    """Write a string: a JSON string is a TOML basic string, except that TOML also escapes DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
