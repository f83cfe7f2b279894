"""JSON schema of declared options: what a program may send, unknown keys refused."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from animatediff.options.declaration import Declared, declared


def json_schema(cls: type) -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a dataclass that declares options."""
    rows = declared(cls)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": cls.__name__,
        "type": "object",
        "additionalProperties": False,
        "properties": {row.field: _property(row) for row in rows},
        "required": [row.field for row in rows if row.default is dataclasses.MISSING],
    }


def _property(row: Declared) -> dict[str, Any]:
    option = row.option
    schema = _type(row)
    if row.nullable:
        kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        schema["type"] = [*kinds, "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    unit = f" In {option.unit}." if option.unit else ""
    unset = f" Default: {option.unset}." if option.unset else ""
    schema["description"] = f"{option.help}{unit}{unset}"
    if row.default is not dataclasses.MISSING:
        default = row.default
        schema["default"] = list(default) if isinstance(default, tuple) else default
    return schema


def _type(row: Declared) -> dict[str, Any]:
    option, annotation = row.option, row.annotation
    if row.choices:
        return {"type": "string", "enum": list(row.choices)}
    if row.is_list:
        return {"type": "array", "items": _text(row), **_known({"maxItems": option.most_items})}
    if typing.get_origin(annotation) is Mapping:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is str:
        return _text(row)
    limits = _known(
        {"minimum": option.least, "maximum": option.most, "multipleOf": option.multiple_of}
    )
    if annotation is int:
        return {"type": "integer", **limits}
    if annotation is float:
        return {"type": "number", **limits}
    kinds = typing.get_args(annotation)
    if set(kinds) <= {Fraction, int, float, str}:
        return {"type": ["number", "string"], **limits}
    raise TypeError(f"{row.field}: {annotation} has no JSON schema here; add it.")


def _text(row: Declared) -> dict[str, Any]:
    return {"type": "string", **_known({"maxLength": row.option.most_characters})}


def _known(limits: Mapping[str, float | None]) -> dict[str, float]:
    return {name: limit for name, limit in limits.items() if limit is not None}
