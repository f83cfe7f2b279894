"""Rectangles of the frame, by name or as four numbers."""

from __future__ import annotations

from animatediff.errors import InputError

AREAS = {
    "left": (0.0, 0.0, 0.5, 1.0),
    "right": (0.5, 0.0, 1.0, 1.0),
    "top": (0.0, 0.0, 1.0, 0.5),
    "bottom": (0.0, 0.5, 1.0, 1.0),
}
"""Areas by name: left, top, right and bottom, as shares of the frame."""


def area_of(text: str) -> tuple[float, float, float, float] | None:
    """The area that a text names, such as ``left`` or ``0,0,0.5,1``; ``None`` if it is a file.

    Raises:
        InputError: it has four numbers, and they are no area.
    """
    if text.strip() in AREAS:
        return AREAS[text.strip()]
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        return None
    if len(numbers) != 4:
        return None
    left, top, right, bottom = numbers
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InputError(
            f"{text!r:.40} is no area; write left, top, right and bottom from 0 to 1, such as "
            "0,0,0.5,1 for the left half."
        )
    return left, top, right, bottom
