"""Options of which one value is for all networks of a request, or each network has its own."""

from __future__ import annotations

from collections.abc import Sequence

from animatediff.errors import InputError


def once_or_each(
    given: Sequence[str], *, count: int, option: str, default: str, what: str
) -> Sequence[str]:
    """The value for each of ``count`` networks.

    Args:
        given: no value, one for all, or as many as networks.
        count: networks of the request.
        option: what errors call the option.
        default: the value where none is given.
        what: what errors call the networks.

    Raises:
        InputError: there is another number of values.
    """
    if len(given) not in (0, 1, count):
        raise InputError(
            f"{option} was given {len(given)} times for {count} {what}; give it once, or once for each."
        )
    return tuple(given) if len(given) == count else (*given, default)[:1] * count
