"""The names and shapes of a file, arranged so that rules about them are answered quickly.

A hostile header may hold fifty thousand names of any length, and every rule is a search through all of
them; so the names become one text, and a rule looks for a fragment in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property

from animatediff.weights.inspection.name_rules import Fragments
from animatediff.weights.names.layouts import TRAINERS_WRAPPERS
from animatediff.weights.names.low_rank import without_adapter

_MOST_LETTERS = 200
"""Of a name; those of published files have at most 150."""
_DIGITS = str.maketrans("0123456789", "#" * 10)


class Evidence:
    """What the names and shapes of a file's tensors say.

    Args:
        shapes: the shape of every tensor, by name.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        prefix = _shared_wrapper(shapes)
        plain = {without_adapter(n).removeprefix(prefix): s for n, s in shapes.items()}
        # Of two adapters in one file, both kinds of name are kept.
        self.shapes = plain if len(plain) == len(shapes) else shapes

    @cached_property
    def names(self) -> str:
        """All names, each on a line of its own."""
        return "\n" + "\n".join(map(_line, self.shapes)) + "\n"

    @cached_property
    def patterns(self) -> str:
        """The same with every number as ``#``, each line once."""
        # Faster than a regular expression, and there may be ten million letters.
        text = self.names[1:-1].translate(_DIGITS)
        while "##" in text:
            text = text.replace("##", "#")
        return "\n" + "\n".join(dict.fromkeys(text.split("\n"))) + "\n"

    def has(self, *fragments: str) -> bool:
        """Whether any of the fragments is in a name (``#`` is a number, ``^`` and ``$`` ends)."""
        return any(_line_ends(fragment) in self.patterns for fragment in fragments)

    def fits(self, needs: Iterable[Fragments], lacks: Fragments = ()) -> bool:
        """Whether a fragment of each group is in a name, and none that must not be."""
        return all(self.has(*group) for group in needs) and not self.has(*lacks)

    def largest(self, pattern: str) -> int | None:
        """The largest number that a pattern's group finds in the names, if it finds any."""
        found = {int(number) for number in re.findall(pattern, self.names)}
        return max(found, default=None)

    def shape(self, *ends: str, least: int = 0) -> tuple[int, ...] | None:
        """The shape of the first tensor whose name ends so and that has so many dimensions."""
        return next(
            (
                shape
                for name, shape in self.shapes.items()
                if name.endswith(ends) and len(shape) >= least
            ),
            None,
        )

    def sizes(self, axis: int, *ends: str) -> tuple[int, ...]:
        """How long an axis is, over all tensors whose names end so; in order, each once."""
        return tuple(
            sorted(
                {
                    shape[axis]
                    for name, shape in self.shapes.items()
                    if name.endswith(ends) and len(shape) > axis
                }
            )
        )


def _line(name: str) -> str:
    """A name that holds a new line would be two names to a rule."""
    return name[:_MOST_LETTERS].replace("\n", "?")


def _shared_wrapper(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """What is before every name and says nothing."""
    prefix = ""
    for wrapper in TRAINERS_WRAPPERS * 2:
        if shapes and all(name.startswith(prefix + wrapper) for name in shapes):
            prefix += wrapper
    return prefix


def _line_ends(fragment: str) -> str:
    return fragment.replace("^", "\n").replace("$", "\n")
