"""Charts as values: what a plot shows, without how it looks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Varied = Literal["rank", "clips"]
"""What differs between the MotionLoRAs of an ablation."""
_NUMBERS: Mapping[Varied, re.Pattern[str]] = {
    what: re.compile(rf"(?<![a-z]){what}-?(\d+)|(?<!\d)(\d+){what}(?![a-z])")
    for what in ("rank", "clips")
}


@dataclass(frozen=True)
class Point:
    """A number with its interval.

    Attributes:
        x: the place: a number, or a name on an axis of names.
        value: the number.
        low: lower end of its 95 % interval.
        high: upper end.
    """

    x: float | str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """Points with one name and one colour."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what is measured.
        x_label: name of the horizontal axis.
        y_label: name and unit of the vertical axis.
        series: what is drawn. Points with names as ``x`` are drawn apart, others as a line.
        reference: a horizontal line, such as the same number for real clips, and its name.
        log: whether the horizontal axis is logarithmic.
        falling: whether the horizontal axis runs from high to low.
    """

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    reference: tuple[float, str] | None = None
    log: bool = False
    falling: bool = False


@dataclass(frozen=True)
class Chart:
    """Panels side by side."""

    panels: tuple[Panel, ...]


def point(x: float | str, number: Mapping[str, Any], *, percent: bool = False) -> Point:
    """Return the point of a share or an estimate as results store it."""
    factor = 100.0 if percent else 1.0
    value = number["share"] if "share" in number else number["value"]
    low, high = (number[end] if number[end] is not None else value for end in ("low", "high"))
    return Point(x, factor * value, factor * low, factor * high)


def number_in(name: str, of: Varied) -> int | None:
    """Return the rank or the number of clips that a name says; ``None`` if it does not.

    Args:
        name: of a MotionLoRA, such as ``rank-8`` or ``zoom-in-50clips``.
        of: which number. ``zoom-in-rank2`` says a rank and no number of clips.
    """
    numbers = {int(found) for pair in _NUMBERS[of].findall(name) for found in pair if found}
    return numbers.pop() if len(numbers) == 1 else None
