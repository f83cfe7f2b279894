"""The names of a whole file, understood as what the file is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from animatediff.weights.names.layouts import POSITIONS, Kind, Layout, motion_name
from animatediff.weights.names.low_rank import low_rank_name


@dataclass(frozen=True)
class Recognised:
    """The names of a whole file, understood.

    Attributes:
        kind: what the file holds.
        layout: whose names they are.
        names: our name for every name in the file that counts.
        positions: the file's tables of positions, by their names there, with their site.
        others: names of something else in the same file, such as the image model's.
    """

    kind: Kind
    layout: Layout
    names: Mapping[str, str]
    positions: Mapping[str, str]
    others: tuple[str, ...]


def recognise(names: Iterable[str], *, kind: Kind) -> Recognised | None:
    """Understand the names of a file whose kind is known; nothing if there is none of that kind.

    What a file is, ``inspect.py`` says; here it is read as that.
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
