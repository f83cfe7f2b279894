"""The columns of Table 1: the paper's, and the ones that a frozen video cannot win."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from animatediff.evaluation.clip_marks import ClipMarks


@dataclass(frozen=True)
class Column:
    """One number of a clip.

    Attributes:
        key: in JSON.
        title: in tables.
        of: reads it; ``None`` where the clip does not have it.
        compared: whether methods are tested against each other on it.
        digits: after the decimal point.
    """

    key: str
    title: str
    of: Callable[[ClipMarks], float | None]
    compared: bool = False
    digits: int = 2


def columns_for(judges: Sequence[str], *, dino: bool) -> list[Column]:
    """Return the columns of a table by these judges, the main one first."""
    main, *others = judges
    columns = [
        Column("text", "Text", lambda m: m.likeness[main].text, compared=True),
        Column("domain", "Domain", lambda m: m.likeness[main].domain, compared=True),
        Column("domain_best", "Domain, best", lambda m: m.likeness[main].domain_best),
        Column("smooth", "Smooth", lambda m: m.likeness[main].smooth, compared=True),
        Column(
            "smooth_all_pairs", "Smooth, all pairs", lambda m: m.likeness[main].smooth_all_pairs
        ),
    ]
    for name in others:
        columns += [
            Column(f"text {name}", f"Text ({name})", lambda m, n=name: m.likeness[n].text),
            Column(f"domain {name}", f"Domain ({name})", lambda m, n=name: m.likeness[n].domain),
            Column(f"smooth {name}", f"Smooth ({name})", lambda m, n=name: m.likeness[n].smooth),
        ]
    if dino:
        columns += [
            Column("dino", "DINO, first frame", lambda m: m.dino),
            Column("subject", "Subject consistency", lambda m: m.subject),
        ]
    return [
        *columns,
        Column("flow", "Flow, px", lambda m: m.flow, compared=True),
        Column("dynamic", "Dynamic", lambda m: 100.0 * m.dynamic, digits=1),
        Column("frozen", "Frozen", lambda m: 100.0 * m.frozen, digits=1),
        Column("flicker", "1 - flicker", lambda m: m.flicker, digits=4),
        Column("warp", "Warp error", lambda m: m.warp, digits=4),
    ]
