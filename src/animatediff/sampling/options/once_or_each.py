"""Options with one value for all networks of a request, or one for each."""

from __future__ import annotations

from collections.abc import Sequence

from animatediff.errors import InputError


def once_or_each(
    given: Sequence[str], *, count: int, option: str, default: str, what: str
) -> Sequence[str]:
    """Return the value for each of ``count`` networks.

    Args:
        given: no value, one value for all, or one for each network.
        count: networks of the request.
        option: its name in errors.
        default: the value if none is given.
        what: name of the networks in errors.

    Raises:
        InputError: the number of values does not match.
    """
    if len(given) not in (0, 1, count):
        raise InputError(
            f"{option} was given {len(given)} times for {count} {what}; give it once, or once for each."
        )
    return tuple(given) if len(given) == count else (*given, default)[:1] * count
