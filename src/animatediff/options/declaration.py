"""Declare an option where its value lives: as an ``Option`` in the annotation of a dataclass field.

    steps: Annotated[int | None, Option("Denoising steps.", group="Sampling", least=1)] = None

The command line (``apps/options/declared.py``), the JSON schema (``schema.py``) and the documentation's
tables (``tables.py``) are generated from such fields, and ``checks.py`` checks plain ranges. A new
option is one field, and one place that uses its value.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

GROUPS = (
    "Prompt",
    "Model",
    "Motion",
    "Data",
    "Training",
    "Loss",
    "Sampling",
    "Output",
    "Machine",
)
"""The order in which groups of options are listed; other groups follow these."""


@dataclass(frozen=True)
class Option:
    """What there is to know about one option besides its type and default.

    Attributes:
        help: one or two sentences for ``--help`` and the docs.
        group: the heading under which it is listed.
        metavar: what its value is called, such as ``N`` or ``FILE``.
        name: its command-line name without dashes; the field's name with hyphens if empty.
        aliases: further spellings with their dashes, such as ``-o``.
        foreign: what other programs of this field call it, without dashes; used in error messages.
        common: whether ``--help`` lists it among the most used, before all groups.
        positional: whether it is given without a name.
        several: whether a list is given as several words after one name.
        by_hand: whether the command declares its own option (or several) for this field.
        unit: of a number, such as ``pixels``.
        least: the smallest number allowed.
        most: the largest number allowed.
        multiple_of: what a whole number must be a multiple of.
        most_characters: the longest text allowed (of each item, for a list).
        most_items: the longest list allowed.
        item: what an error calls one item of a list.
        unset: what leaving the option out means, where the default does not say it.
        example: a value to show in the docs.
        respell: of a text that is one of several choices: the choice that what people type stands for.
    """

    help: str
    group: str
    metavar: str = ""
    name: str = ""
    aliases: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    common: bool = False
    positional: bool = False
    several: bool = False
    by_hand: bool = False
    unit: str = ""
    least: float | None = None
    most: float | None = None
    multiple_of: int | None = None
    most_characters: int | None = None
    most_items: int | None = None
    item: str = ""
    unset: str = ""
    example: str = ""
    respell: Callable[[str], str] | None = None


@dataclass(frozen=True)
class Declared:
    """One field that declares an option.

    Attributes:
        field: the field's name.
        option: its declaration.
        annotation: its type, without ``Annotated`` and ``None``.
        nullable: whether ``None`` is allowed.
        default: its default; ``dataclasses.MISSING`` if it must be given.
    """

    field: str
    option: Option
    annotation: Any
    nullable: bool
    default: Any

    @property
    def flag(self) -> str:
        """The option as typed on a command line; a positional one is its metavar."""
        if self.option.positional:
            return self.option.metavar or self.field.upper()
        return f"--{self.option.name or self.field.replace('_', '-')}"

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, if they are listed in the type; empty otherwise."""
        listed = typing.get_origin(self.annotation) is Literal
        return typing.get_args(self.annotation) if listed else ()

    @property
    def is_list(self) -> bool:
        """Whether the value is a tuple, of texts or of numbers."""
        return typing.get_origin(self.annotation) is tuple

    @property
    def range(self) -> str:
        """The allowed numbers, such as ``1 to 999``; empty if they are not limited."""
        least, most = self.option.least, self.option.most
        if least is None or most is None:
            return ""
        return f"{_number(least)} to {_number(most)}"

    @property
    def default_text(self) -> str:
        """What leaving the option out means, in a few words; empty if there is nothing to say."""
        if self.option.unset:
            return self.option.unset
        if self.default is True:
            return "on"
        empty = self.default is None or self.default is dataclasses.MISSING
        if empty or self.default is False or self.default in ("", (), {}):
            return ""
        if isinstance(self.default, tuple):
            return " ".join(map(str, typing.cast(tuple[object, ...], self.default)))
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)


@functools.cache
def declared(cls: type) -> tuple[Declared, ...]:
    """Every option that a dataclass declares, in the order of its fields."""
    hints = typing.get_type_hints(cls, include_extras=True)
    found: list[Declared] = []
    for field in dataclasses.fields(cls):
        option, annotation = _option_in(hints[field.name])
        if option is None:
            continue
        annotation, nullable = _without_none(annotation)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        found.append(Declared(field.name, option, annotation, nullable, default))
    return tuple(found)


def in_groups(rows: typing.Iterable[Declared]) -> dict[str, list[Declared]]:
    """Options by group, the groups in the order of ``GROUPS`` and then of appearance."""
    groups: dict[str, list[Declared]] = {name: [] for name in GROUPS}
    for row in rows:
        groups.setdefault(row.option.group, []).append(row)
    return {name: listed for name, listed in groups.items() if listed}


def _option_in(hint: Any) -> tuple[Option | None, Any]:
    if typing.get_origin(hint) is not typing.Annotated:
        return None, hint
    annotation, *extras = typing.get_args(hint)
    return next((extra for extra in extras if isinstance(extra, Option)), None), annotation


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if typing.get_origin(annotation) not in (typing.Union, types.UnionType):
        return annotation, False
    kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
    nullable = len(kinds) < len(typing.get_args(annotation))
    return typing.Union[tuple(kinds)], nullable  # noqa: UP007 - the kinds are known only now


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:g}"
