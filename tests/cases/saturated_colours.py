"""Frames in the colours that the wrong YUV matrix changes most: seen as red that turns orange."""

from __future__ import annotations

import numpy as np

COLOURS = [
    *((r, g, b) for r in (0, 255) for g in (0, 255) for b in (0, 255)),
    *((200, 60, 30), (30, 160, 90), (40, 70, 210), (128, 128, 128)),
]


def frames(*, count: int = 3, height: int = 63, width: int = 97) -> np.ndarray:
    """Patches of plain colour, in the order of ``COLOURS``, row by row."""
    picture = np.zeros((height, width, 3), np.uint8)
    rows, columns = 3, 4
    for index, colour in enumerate(COLOURS):
        row, column = divmod(index, columns)
        down = slice(row * height // rows, (row + 1) * height // rows)
        across = slice(column * width // columns, (column + 1) * width // columns)
        picture[down, across] = colour
    return np.stack([picture] * count)


def patches(shown: np.ndarray) -> np.ndarray:
    """The colour in the middle of each patch of one shown frame."""
    height, width, _ = shown.shape
    return np.array(
        [
            shown[(2 * (i // 4) + 1) * height // 6, (2 * (i % 4) + 1) * width // 8]
            for i in range(len(COLOURS))
        ]
    )
