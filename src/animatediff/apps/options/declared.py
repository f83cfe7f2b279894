"""Parse the command line of a dataclass whose fields declare an ``Option``.

tyro reads the words. The result has only the options that were given, so that they can override those
of a file.
"""

from __future__ import annotations

import dataclasses
import shutil
import textwrap
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tyro.conf import FlagCreatePairsOff, Positional, UseAppendAction, arg

from animatediff.apps.options.foreign import foreign_sentence
from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.options.declaration import Declared, declared, in_groups
from animatediff.options.tables import value_name

T = TypeVar("T")

WIDTH = 100
INDENT = 26


@dataclass(frozen=True)
class FieldsOf:
    """Marks a field of type ``Given``: the options that other dataclasses declare.

    Attributes:
        declares: those dataclasses; an option that several of them share is listed once.
        for_words: which of them ``--help`` lists, by the words before it; all if ``None``.
        without: fields whose options the command does not take.
    """

    declares: tuple[type, ...]
    for_words: Callable[[Sequence[str]], tuple[type, ...]] | None = None
    without: tuple[str, ...] = ()

    @property
    def rows(self) -> tuple[Declared, ...]:
        """The options."""
        rows = {row.field: row for cls in self.declares for row in declared(cls)}
        return tuple(row for name, row in rows.items() if name not in self.without)


@dataclass(frozen=True)
class Given:
    """What a command line gives of the options that a dataclass declares.

    Attributes:
        values: values by field; whatever was not given is absent.
    """

    values: Mapping[str, Any] = field(default_factory=dict[str, Any])


def declares_options(cls: type) -> bool:
    """Whether a dataclass's command line is generated from declared options."""
    return dataclasses.is_dataclass(cls) and bool(all_options(cls))


def all_options(cls: type) -> tuple[Declared, ...]:
    """Every option of a command: those of classes marked by ``FieldsOf``, then its own."""
    others = [row for mark in _nested(cls).values() for row in mark.rows]
    return (*others, *declared(cls))


def _options_for(cls: type, words: Sequence[str]) -> tuple[Declared, ...]:
    """The options that ``--help`` lists after these words."""
    others = [
        row
        for mark in _nested(cls).values()
        for row in (mark if mark.for_words is None else FieldsOf(mark.for_words(words))).rows
    ]
    return (*others, *declared(cls))


def parse_declared(
    cls: type[T],
    arguments: Sequence[str],
    *,
    command: str,
    summary: str,
    parse_surface: typing.Callable[[type[Any], Sequence[str]], tuple[Any, list[str]]],
) -> T:
    """The value of ``cls`` that the words of a command line give.

    Args:
        cls: a dataclass whose fields declare options, or hold the ``Given`` of other classes.
        arguments: the words.
        command: the command's name, for messages.
        summary: what it does, for ``--help``.
        parse_surface: reads words into a plain class that tyro understands; returns the value and
            the words that were not understood.

    Raises:
        InputError: an option is unknown, or its value does not fit.
        SystemExit: with code 0, after ``--help`` was printed.
    """
    rows = [row for row in all_options(cls) if not row.option.by_hand]
    if any(word in ("-h", "--help") for word in arguments):
        listed = [row for row in _options_for(cls, arguments) if not row.option.by_hand]
        print(help_of(listed, command=command, summary=summary))
        raise SystemExit(0)
    assert len({row.field for row in rows}) == len(rows), "two options of one field name"
    # tyro needs a millisecond for each option that it may meet: here only those that are named.
    named = [row for row in rows if row.option.positional or _may_be_named(row, arguments)]
    try:
        value, unknown = parse_surface(_surface(cls, named), arguments)
    except InputError:  # what is wrong is said with all options in sight
        named = rows
        value, unknown = parse_surface(_surface(cls, named), arguments)
    if unknown:
        raise InputError(_unknown(unknown[0], rows, command))
    given = {row.field: found for row in named if (found := _given(row, value)) is not None}
    own = {row.field for row in declared(cls)}
    nested = {
        name: Given({row.field: given[row.field] for row in mark.rows if row.field in given})
        for name, mark in _nested(cls).items()
    }
    return cls(**nested, **{name: found for name, found in given.items() if name in own})


def _nested(cls: type) -> dict[str, FieldsOf]:
    """The marks of other classes' options, by the field that holds what was given of them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return {
        name: mark
        for name, hint in hints.items()
        for mark in getattr(hint, "__metadata__", ())
        if isinstance(mark, FieldsOf)
    }


def _may_be_named(row: Declared, words: Sequence[str]) -> bool:
    """Whether one of the words is the option, or looks like it."""
    name = row.flag.removeprefix("--")
    spelled = {row.flag, f"--no-{name}", *row.option.aliases}
    shown = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    short = {word[:2] for word in words if word.startswith("-")}
    return not spelled.isdisjoint(shown | short)


def _surface(cls: type, rows: Iterable[Declared]) -> type[Any]:
    """The class that tyro reads."""
    fields = [part for row in rows for part in _surface_fields(row)]
    return dataclasses.make_dataclass(cls.__name__, fields, frozen=True)


def _surface_fields(row: Declared) -> Iterable[tuple[str, Any, Any]]:
    """The fields for one option of the class that tyro reads, each with a default of "not given"."""
    option = row.option
    name = None if option.positional else row.flag.removeprefix("--")
    if row.annotation is bool:
        yes = arg(name=name, aliases=option.aliases)
        no = arg(name=f"no-{name}")
        yield row.field, Annotated[FlagCreatePairsOff[bool], yes], False
        yield f"no_{row.field}", Annotated[FlagCreatePairsOff[bool], no], False
        return
    named = arg(name=name, aliases=option.aliases, metavar=value_name(row))
    if row.is_list and option.several:
        yield row.field, Annotated[row.annotation, named], ()
    elif row.is_list:
        yield row.field, Annotated[UseAppendAction[tuple[str, ...]], named], ()
    elif option.positional:
        yield row.field, Annotated[Positional[str], named], ""
    else:
        listed = row.choices and option.respell is None
        plain = row.annotation in (int, float, Path) or listed
        kind = row.annotation if plain else str
        yield row.field, Annotated[kind | None, named], None


def _given(row: Declared, value: Any) -> Any:
    """What the words gave for one option; ``None`` if nothing."""
    found = getattr(value, row.field)
    if row.annotation is bool:
        off = getattr(value, f"no_{row.field}")
        if found and off:
            name = row.flag.removeprefix("--")
            raise InputError(f"Give --{name} or --no-{name}, but not both.")
        return False if off else found or None
    return None if found in ((), None) or (row.option.positional and not found) else found


def _unknown(word: str, rows: Sequence[Declared], command: str) -> str:
    if not word.startswith("-"):
        return f"{word!r} was not expected after {command}; put text of several words in quotes."
    flag = word.split("=", 1)[0]
    name = flag.lstrip("-")
    plain = name.replace("_", "-")
    for row in rows:
        if name in row.option.foreign or plain in row.option.foreign:
            shown = "" if row.annotation is bool else f" {value_name(row)}"
            return f"{command} has no option {flag}; use {row.flag}{shown}."
    sentence = foreign_sentence(plain, command=command)
    if sentence:
        return f"{command} has no option {flag}; {sentence}"
    known = {row.flag.removeprefix("--"): row.flag for row in rows if not row.option.positional}
    close = nearest(plain, known)
    remedy = f"did you mean {known[close]}?" if close else f"see animatediff {command} --help."
    return f"{command} has no option {flag}; {remedy}"


def help_of(rows: Sequence[Declared], *, command: str, summary: str) -> str:
    """What ``--help`` prints: the most used options first, then the others by group."""
    width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
    words = " ".join(row.flag for row in rows if row.option.positional)
    common = [row for row in rows if row.option.common]
    others = [row for row in rows if not row.option.common]
    parts = [f"usage: animatediff {command} [OPTIONS] {words}".rstrip(), summary]
    titled = {"Most used": common, **in_groups(others)} if common else in_groups(others)
    for title, listed in titled.items():
        first = [row for row in listed if row.option.positional]
        named = [row for row in listed if not row.option.positional]
        lines = [line for row in (*first, *named) for line in _help_lines(row, width)]
        parts.append("\n".join([f"{title}:", *lines]))
    return "\n\n".join(parts)


def _help_lines(row: Declared, width: int) -> list[str]:
    option = row.option
    off = [f"--no-{row.flag.removeprefix('--')}"] if row.default is True else []
    names = ", ".join([*option.aliases, row.flag, *off])
    value = "" if row.annotation is bool or option.positional else f" {value_name(row)}"
    left = f"  {names}{value}"
    facts = [
        row.range,
        option.unit,
        f"default: {row.default_text}" if row.default_text else "",
        "may be repeated" if row.is_list and not option.several else "",
    ]
    hint = "; ".join(fact for fact in facts if fact)
    listed = f" One of {', '.join(row.choices)}." if row.choices and not option.metavar else ""
    text = f"{option.help}{listed}{f' ({hint})' if hint else ''}"
    blank = " " * INDENT
    lines = textwrap.wrap(
        text, width, initial_indent=blank, subsequent_indent=blank, break_on_hyphens=False
    )
    if len(left) < INDENT - 1:
        return [left.ljust(INDENT) + lines[0].lstrip(), *lines[1:]]
    return [left, *lines]
