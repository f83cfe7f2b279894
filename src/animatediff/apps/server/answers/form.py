"""The option fields of a request as JSON, from which the page builds its form."""

from __future__ import annotations

import dataclasses
import functools
import json
from fractions import Fraction
from typing import Any

from animatediff.apps.server.formats import FORMATS
from animatediff.apps.server.incoming.outside import takes
from animatediff.options.declaration import Declared, declared, in_groups
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.roles import usable_roles


def form() -> dict[str, Any]:
    """Groups of options, the formats of results, and which options are used most."""
    rows = declared(AnimationRequest)
    return {
        "groups": [
            {"name": name, "options": [_option(row) for row in listed]}
            for name, listed in in_groups(rows).items()
        ],
        "formats": list(FORMATS),
        "most_used": [row.field for row in rows if row.option.common],
    }


@functools.cache
def form_text() -> str:
    """The form as JSON, which never changes while a server runs."""
    return json.dumps(form(), ensure_ascii=False, default=str)


def _option(row: Declared) -> dict[str, Any]:
    option = row.option
    default = None if row.default is dataclasses.MISSING else row.default
    if isinstance(default, tuple):
        default = list(default)
    return {
        "field": row.field,
        "flag": row.flag,
        "help": option.help,
        "type": _type(row),
        "takes": takes(row),
        "scaled": any(role.field == row.field and role.scaled for role in usable_roles()),
        "choices": list(row.choices),
        "default": default,
        "required": row.default is dataclasses.MISSING,
        "nullable": row.nullable,
        "unset": option.unset,
        "common": option.common,
        "least": option.least,
        "most": option.most,
        "multiple_of": option.multiple_of,
        "unit": option.unit,
        "item": option.item,
        "most_items": option.most_items,
        "most_characters": option.most_characters,
        "metavar": option.metavar,
    }


def _type(row: Declared) -> str:
    if row.choices:
        return "choice"
    if row.is_list:
        return "list"
    if row.annotation is bool:
        return "boolean"
    if row.annotation is int:
        return "integer"
    if row.annotation is float or Fraction in getattr(row.annotation, "__args__", ()):
        return "number"
    return "text" if row.annotation is str else "table"
