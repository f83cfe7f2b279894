"""Several videos as a table: one column for each value of one thing, one row for each of another."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from animatediff.errors import InputError
from animatediff.video.containers import MAX_PIXELS
from animatediff.video.video import Video

FONT_SIZE = 13
LINE = FONT_SIZE + 4
MARGIN = 4
WIDEST = 28
"""Characters in a line of a row's label."""
MOST_LINES = 3
CODED_SIDE = 8192
"""Pixels of a side beyond which players and encoders give up."""


def table_of(
    cells: Sequence[Sequence[Video | None]], *, columns: Sequence[str], rows: Sequence[str]
) -> Video:
    """A labelled table of videos, at the rate of the first.

    A shorter video holds its last frame, a smaller one is centred, and ``None`` leaves white.

    Args:
        cells: videos by row, then by column.
        columns: a label above each column.
        rows: a label left of each row; all empty for a table without them.

    Raises:
        InputError: labels and cells differ in number, there is no video, or the table is too large.
    """
    if len(cells) != len(rows) or any(len(row) != len(columns) for row in cells):
        raise InputError("A table needs one label for each row and each column.")
    videos = [video for row in cells for video in row if video is not None]
    if not videos:
        raise InputError("There is no video to put in the table.")
    count = max(video.num_frames for video in videos)
    height = max(video.frames.shape[1] for video in videos)
    width = max(video.frames.shape[2] for video in videos)
    top = _label_height(columns, width)
    left = _label_width(rows)
    shape = (top + height * len(rows), left + width * len(columns))
    check_table_size(shape[1], shape[0], count)
    canvas = np.full((count, *shape, 3), 255, np.uint8)
    for index, label in enumerate(columns):
        start = left + index * width
        canvas[:, :top, start : start + width] = _label(label, width=width, height=top)
    for index, label in enumerate(rows):
        start = top + index * height
        if left:
            canvas[:, start : start + height, :left] = _label(label, width=left, height=height)
    for i, row in enumerate(cells):
        for j, video in enumerate(row):
            if video is None:
                continue
            frames = video.frames[np.minimum(np.arange(count), video.num_frames - 1)]
            y = top + i * height + (height - frames.shape[1]) // 2
            x = left + j * width + (width - frames.shape[2]) // 2
            canvas[:, y : y + frames.shape[1], x : x + frames.shape[2]] = frames
    return Video(canvas, Fraction(videos[0].fps))


def check_table_size(width: int, height: int, count: int) -> None:
    """Raise if a table would be too large to write.

    Raises:
        InputError: it would be.
    """
    if max(width, height) > CODED_SIDE or width * height * count > MAX_PIXELS:
        raise InputError(
            f"The table would be {width}x{height} pixels with {count} frames, which is too large; "
            "use fewer values, a smaller --size or fewer --frames."
        )


def _font() -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size=FONT_SIZE)


def _lines(text: str, characters: int) -> list[str]:
    """At most three lines; what does not fit ends in an ellipsis."""
    return textwrap.wrap(
        " ".join(text.split()),
        max(4, characters),
        max_lines=MOST_LINES,
        placeholder=" ...",
        break_on_hyphens=False,
    ) or [""]


def _characters(width: int) -> int:
    return max(4, int((width - 2 * MARGIN) / (0.55 * FONT_SIZE)))


def _label_height(labels: Sequence[str], width: int) -> int:
    return max(len(_lines(label, _characters(width))) for label in labels) * LINE + MARGIN


def _label_width(labels: Sequence[str]) -> int:
    """Of the widest line; 0 if there are no labels."""
    if not any(labels):
        return 0
    lines = (line for label in labels for line in _lines(label, WIDEST))
    return round(max(_font().getlength(line) for line in lines)) + 2 * MARGIN


def _label(text: str, *, width: int, height: int) -> UInt8[np.ndarray, "height width 3"]:
    picture = Image.new("RGB", (width, height), "white")
    drawing = ImageDraw.Draw(picture)
    for index, line in enumerate(_lines(text, max(_characters(width), 4))):
        place = (MARGIN, MARGIN / 2 + index * LINE)
        drawing.text(place, line, fill="black", font=_font())
    return np.asarray(picture)
