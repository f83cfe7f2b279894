"""Paths of objects as they are written, and the points of every frame."""

from __future__ import annotations

import math

from animatediff.errors import InputError

Point = tuple[float, float]


def parse_path(text: str) -> list[Point]:
    """The points of ``0.2,0.5 0.8,0.5``, as shares of width and height.

    Raises:
        InputError: it is written differently, or a point is outside the picture.
    """
    points: list[Point] = []
    for part in text.split():
        try:
            x, y = (float(number) for number in part.split(","))
        except ValueError:
            x = y = math.nan
        if not (0 <= x <= 1 and 0 <= y <= 1):
            raise InputError(
                f"{part!r:.40} is no point of --object-path; write shares of width and height from 0 "
                "to 1, such as '0.2,0.5 0.8,0.5'."
            )
        points.append((x, y))
    if len(points) < 2:
        raise InputError(f"--object-path {text!r:.40} needs two points or more.")
    return points


def points_of_frames(points: list[Point], *, num_frames: int) -> list[Point]:
    """Where the object is in every frame, in straight lines between the points."""
    found: list[Point] = []
    for frame in range(num_frames):
        along = frame * (len(points) - 1) / max(1, num_frames - 1)
        start = min(int(along), len(points) - 2)
        share = along - start
        (x, y), (x2, y2) = points[start], points[start + 1]
        found.append((x + share * (x2 - x), y + share * (y2 - y)))
    return found
