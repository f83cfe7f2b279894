"""Figures: frames side by side with labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from animatediff.errors import InputError

Frame = UInt8[np.ndarray, "height width 3"]

MARGIN, LABEL = 4, 16
"""Pixels between pictures, and the height of a line of text."""


def labelled_grid(rows: Mapping[str, Sequence[Frame]], *, columns: Sequence[str]) -> Image.Image:
    """Draw a grid of frames with a name for each row and column.

    Args:
        rows: for each row name, frames of one size, one per column.
        columns: column names.

    Raises:
        InputError: there is nothing to show, or the frames do not fill the grid.
    """
    sizes = {frame.shape for frames in rows.values() for frame in frames}
    if len(sizes) != 1 or any(len(frames) != len(columns) for frames in rows.values()):
        raise InputError(
            f"A grid of {len(columns)} columns needs as many frames of one size in every row."
        )
    height, width = sizes.pop()[:2]
    cell_height = height + LABEL + MARGIN
    sheet = Image.new(
        "RGB",
        (len(columns) * (width + MARGIN) + MARGIN, len(rows) * cell_height + LABEL + MARGIN),
        "white",
    )
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for x, name in enumerate(columns):
        pen.text((MARGIN + x * (width + MARGIN), 1), name, fill="black", font=font)
    for y, (name, frames) in enumerate(rows.items()):
        top = LABEL + y * cell_height
        pen.text((MARGIN, top + 1), name, fill="black", font=font)
        for x, frame in enumerate(frames):
            place = (MARGIN + x * (width + MARGIN), top + LABEL)
            sheet.paste(Image.fromarray(np.ascontiguousarray(frame)), place)
    return sheet
