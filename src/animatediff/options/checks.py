"""Check values against their declarations: type, range, length and choice, each in one sentence."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping

from animatediff.config import nearest
from animatediff.errors import InputError
from animatediff.options.declaration import Declared, declared


def check_declared(value: object) -> None:
    """Check every declared field of a dataclass value.

    Raises:
        InputError: a field has the wrong type, or is out of range; the sentence says what fits.
    """
    for row in declared(type(value)):
        check_field(row, getattr(value, row.field))


def check_field(row: Declared, value: object) -> None:
    """Check one value against one declaration.

    Raises:
        InputError: as for ``check_declared``.
    """
    if value is None and row.nullable:
        return
    name, option = row.field, row.option
    if row.choices:
        check_choice(name, value, row.choices)
    elif row.annotation is bool:
        if not isinstance(value, bool):
            raise InputError(f"{name} = {value!r:.40} is neither true nor false.")
    elif row.annotation is int:
        check_integer(name, value, least=option.least, most=option.most)
        if option.multiple_of is not None:
            check_multiple(name, typing.cast(int, value), of=option.multiple_of, most=option.most)
    elif row.annotation is float:
        check_number(name, value, least=option.least, most=option.most)
    elif row.annotation is str:
        check_text(name, value, most=option.most_characters)
    elif row.is_list:
        check_list(option.item or name, value, most=option.most_items)
        for item in typing.cast(tuple[object, ...], value):
            if float in typing.get_args(row.annotation):
                check_number(option.item or name, item, least=option.least, most=option.most)
                continue
            check_text(option.item or name, item, most=option.most_characters)
    elif typing.get_origin(row.annotation) is Mapping and not isinstance(value, Mapping):
        raise InputError(f"{name} = {value!r:.40} is not a table.")


def check_text(name: str, text: object, *, most: int | None = None) -> None:
    """Refuse what is not valid Unicode text of at most ``most`` characters.

    Raises:
        InputError: it is not.
    """
    if not isinstance(text, str):
        raise InputError(f"{name} = {text!r:.40} is not text.")
    if most is not None and len(text) > most:
        raise InputError(f"The {name} has {len(text)} characters; shorten it to {most} or fewer.")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise InputError(f"The {name} is not valid Unicode text; type it again.")


def check_list(item: str, value: object, *, most: int | None = None) -> None:
    """Refuse what is not a list of at most ``most`` items.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, tuple | list):
        raise InputError(f"The {item}s {value!r:.40} are not a list.")
    if most is not None and len(value) > most:
        raise InputError(f"{len(value)} {item}s were given, and at most {most} can be added.")


def check_integer(
    name: str, value: object, *, least: float | None, most: float | None, where: str = ""
) -> None:
    """Refuse what is not a whole number in a range; ``where`` ends the sentence.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} = {value!r:.40} is not a whole number.")
    _check_range(name, str(value), value, least=least, most=most, where=where)


def check_counts(options: object, *names: str) -> None:
    """Refuse options, each a number, several or ``None``, of which one is less than 1.

    Raises:
        InputError: one is, or is not a whole number.
    """
    for name in names:
        given = getattr(options, name)
        for number in given if isinstance(given, tuple) else (given,):
            if number is not None:
                check_integer(name, number, least=1, most=None)


def check_number(name: str, value: object, *, least: float | None, most: float | None) -> None:
    """Refuse what is not a finite number in a range.

    Raises:
        InputError: it is not.
    """
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise InputError(f"{name} = {value!r:.40} is not a finite number.")
    _check_range(name, f"{value:g}", value, least=least, most=most)


def _check_range(
    name: str,
    shown: str,
    value: float,
    *,
    least: float | None,
    most: float | None,
    where: str = "",
) -> None:
    if (least is not None and value < least) or (most is not None and value > most):
        ends = (least, most)
        low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in ends)
        if least is None or most is None:
            allowed = f"{low} or more" if most is None else f"at most {high}"
        else:
            allowed = f"{low} to {high}"
        raise InputError(f"{name} = {shown} is out of range; choose {allowed}{where}.")


def check_multiple(name: str, value: int, *, of: int, most: float | None = None) -> None:
    """Refuse a number that is not a multiple of another.

    Raises:
        InputError: it is not; the sentence names the nearest multiples.
    """
    if value % of:
        below = value - value % of
        choices = [n for n in (below, below + of) if n > 0 and (most is None or n <= most)]
        raise InputError(
            f"{name} = {value} is not a multiple of {of}; choose {' or '.join(map(str, choices))}."
        )


def check_choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse what is not one of a few words.

    Raises:
        InputError: it is not; the sentence names the nearest word, or all of them.
    """
    if value in known:
        return
    close = nearest(str(value), known)
    hint = f"did you mean {close}?" if close else f"it is one of {', '.join(known)}."
    raise InputError(f"{name} = {value!r:.40} is unknown; {hint}")
