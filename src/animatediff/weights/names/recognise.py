"""Translate all names of a file whose kind is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animatediff.weights.names.layouts import POSITIONS, Kind, Layout, motion_name
from animatediff.weights.names.low_rank import low_rank_name


@dataclass(frozen=True)
class Recognised:
    """All names of a file, translated.

    Attributes:
        kind: what the file contains.
        layout: the layout of the names.
        names: our name of every tensor that is used.
        positions: the file's names of positional encodings, with their site.
        others: names of something else, such as an image model's.
    """

    kind: Kind
    layout: Layout
    names: Mapping[str, str]
    positions: Mapping[str, str]
    others: tuple[str, ...]


def recognise(names: Iterable[str], *, kind: Kind) -> Recognised | None:
    """Translate the names of a file of this kind; ``None`` if no name is of this kind.

    ``inspect.py`` determines the kind.
    """
    names = tuple(names)
    if kind == "motion":
        motion = {name: found for name in names if (found := motion_name(name)) is not None}
        if not motion:
            return None
        return Recognised(
            kind="motion",
            layout=next(iter(motion.values())).layout,
            names={
                name: found.ours for name, found in motion.items() if found.parameter != POSITIONS
            },
            positions={
                name: found.site for name, found in motion.items() if found.parameter == POSITIONS
            },
            others=tuple(name for name in names if name not in motion),
        )
    low_rank = {
        name: found
        for name in names
        if (found := low_rank_name(name)) is not None and found.kind == kind
    }
    if not low_rank:
        return None
    return Recognised(
        kind=kind,
        layout=next(iter(low_rank.values())).layout,
        names={name: found.ours for name, found in low_rank.items()},
        positions={},
        others=tuple(name for name in names if name not in low_rank),
    )
