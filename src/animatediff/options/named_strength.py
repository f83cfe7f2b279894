"""Values such as ``zoom-in:0.5``: a name, and how strongly it counts."""

from __future__ import annotations

import math

from animatediff.errors import InputError

STRONGEST = 2.0
"""The largest strength; a larger move would leave the picture."""


def split_strength(text: str, *, what: str) -> tuple[str, float]:
    """Split ``NAME`` or ``NAME:STRENGTH``; without a number the strength is 1.

    Args:
        text: the value; whether there is such a name is not checked.
        what: what the number is called in errors, such as "size of an action".

    Raises:
        InputError: the strength is not above 0 and at most 2.
    """
    name, colon, number = text.partition(":")
    try:
        strength = float(number) if colon else 1.0
    except ValueError:
        strength = math.nan
    if not 0 < strength <= STRONGEST:
        raise InputError(
            f"The {what} must be above 0 and at most {STRONGEST:g}, such as {name:.40}:0.5, "
            f"not {number[:40]!r}."
        )
    return name, strength
