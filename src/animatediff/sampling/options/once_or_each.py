"""Options with one value for all networks of a request, or one for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from animatediff.errors import InputError
from animatediff.options.declaration import Option


@dataclass(frozen=True)
class OnceOrEach:
    """The shape of options with one value for all networks of a kind, or one for each.

    Attributes:
        group: their heading in ``--help``.
        networks: what the networks are called there, in the plural.
        most: the largest number of networks.
    """

    group: str
    networks: str
    most: int

    def option(
        self,
        description: str,
        *,
        metavar: str = "NAME",
        name: str = "",
        foreign: tuple[str, ...] = (),
        most_characters: int = 40,
        unset: str = "",
    ) -> Option:
        """Declare one of them; see ``Option`` for the arguments."""
        return Option(
            f"{description} One for all {self.networks}, or one for each.",
            group=self.group,
            metavar=metavar,
            name=name,
            foreign=foreign,
            most_items=self.most,
            most_characters=most_characters,
            unset=unset,
        )


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
