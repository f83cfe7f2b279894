"""The names and shapes of a file, as one text that rules search quickly.

A malicious header may have fifty thousand names of any length, and every rule searches all of them.
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
    """Names and shapes of a file's tensors, for rules to search.

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
        """All names, one per line."""
        return "\n" + "\n".join(map(_line, self.shapes)) + "\n"

    @cached_property
    def patterns(self) -> str:
        """All names with numbers written ``#``, without repetitions."""
        # Faster than a regular expression, and there may be ten million letters.
        text = self.names[1:-1].translate(_DIGITS)
        while "##" in text:
            text = text.replace("##", "#")
        return "\n" + "\n".join(dict.fromkeys(text.split("\n"))) + "\n"

    def has(self, *fragments: str) -> bool:
        """Whether a name contains any of the fragments (``#``: a number; ``^``, ``$``: its ends)."""
        return any(_line_ends(fragment) in self.patterns for fragment in fragments)

    def fits(self, needs: Iterable[Fragments], lacks: Fragments = ()) -> bool:
        """Whether names contain a fragment of each group in ``needs``, and none in ``lacks``."""
        return all(self.has(*group) for group in needs) and not self.has(*lacks)

    def largest(self, pattern: str) -> int | None:
        """The largest number that a pattern's group matches in the names, if any."""
        found = {int(number) for number in re.findall(pattern, self.names)}
        return max(found, default=None)

    def shape(self, *ends: str, least: int = 0) -> tuple[int, ...] | None:
        """The shape of the first tensor with this ending and number of dimensions."""
        return next(
            (
                shape
                for name, shape in self.shapes.items()
                if name.endswith(ends) and len(shape) >= least
            ),
            None,
        )

    def sizes(self, axis: int, *ends: str) -> tuple[int, ...]:
        """The lengths of an axis over all tensors with this ending, in order, without repetitions."""
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
    """Shorten a name and replace line breaks, which would make it two names."""
    return name[:_MOST_LETTERS].replace("\n", "?")


def _shared_wrapper(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Return the trainers' prefixes that all names share."""
    prefix = ""
    for wrapper in TRAINERS_WRAPPERS * 2:
        if shapes and all(name.startswith(prefix + wrapper) for name in shapes):
            prefix += wrapper
    return prefix


def _line_ends(fragment: str) -> str:
    return fragment.replace("^", "\n").replace("$", "\n")
