"""The axis of a grid: one field of a request, and the values that it takes along a side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from animatediff.apps.many.typed_values import field_named, value_typed
from animatediff.errors import InputError

MOST_VALUES = 32


@dataclass(frozen=True)
class Axis:
    """One side of a grid.

    Attributes:
        name: the field, as it was typed.
        words: its values, as they were typed.
        changes: the fields of a request that each value sets.
    """

    name: str
    words: tuple[str, ...]
    changes: tuple[dict[str, Any], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """A label for each value; a prompt labels itself."""
        if self.name == "prompt":
            return self.words
        return tuple(f"{self.name} {word}".strip() for word in self.words)


NOTHING = Axis("", ("",), ({},))
"""The side of a grid that has only one row."""


def parse_axis(text: str | None, *, option: str) -> Axis:
    """The axis that ``guidance=3,5,7`` stands for.

    Values are separated by commas, or by ``|`` where a value contains a comma.

    Raises:
        InputError: the field is unknown, or a value does not fit it.
    """
    if text is None:
        return NOTHING
    name, sign, rest = text.partition("=")
    separator = "|" if "|" in rest else ","
    words = tuple(word.strip() for word in rest.split(separator))
    if not sign or not all(words):
        raise InputError(
            f"{option} {text!r:.60} is not a field and its values; write, for example, "
            f'{option} "guidance=3,5,7".'
        )
    if len(words) > MOST_VALUES:
        raise InputError(f"{option} has {len(words)} values, and a side has at most {MOST_VALUES}.")
    if len(set(words)) < len(words):
        raise InputError(f"{option} {text!r:.60} has a value twice.")
    name = name.strip().lstrip("-")
    if name == "size":
        return Axis(name, words, tuple(_size(word, option=option) for word in words))
    row = field_named(name, source=option)
    values = [value_typed(row, word, source=option) for word in words]
    changes = tuple({row.field: tuple(v) if isinstance(v, list) else v} for v in values)
    return Axis(name, words, changes)


def _size(word: str, *, option: str) -> dict[str, Any]:
    match = re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", word.lower())
    if match is None:
        raise InputError(f"{option}: {word!r:.40} is not a size, such as 128x128.")
    return {"width": int(match[1]), "height": int(match[2])}
