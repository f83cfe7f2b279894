"""``Video``: frames and a rate, and several videos side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from animatediff.errors import InputError
from animatediff.video.containers import MAX_PIXELS, Frames, read_video, write_video

LABEL_HEIGHT = 18


@dataclass(frozen=True, eq=False)
class Video:
    """Frames and their rate.

    Attributes:
        frames: sRGB bytes.
        fps: exact, so that 30000/1001 stays what it is.

    Raises:
        InputError: the frames are not RGB bytes, there are none, or the rate is not positive.
    """

    frames: UInt8[np.ndarray, "frames height width 3"]
    fps: Fraction

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[-1] != 3 or 0 in shape:
            raise InputError(
                f"Frames of shape {shape} and type {self.frames.dtype} are not a video; "
                "uint8 of shape (frames, height, width, 3) is needed."
            )
        if self.fps <= 0:
            raise InputError(
                f"The rate of a video must be positive, not {self.fps} frames per second."
            )

    @property
    def num_frames(self) -> int:
        """Number of frames."""
        return len(self.frames)

    def save(
        self,
        path: str | Path,
        *,
        metadata: Mapping[str, str] | None = None,
        format: str | None = None,  # noqa: A002 - the word everybody uses
        loop: int = 0,
        sound: Path | None = None,
    ) -> Path:
        """Write the video with metadata and return its path. The result is complete or absent.

        Args:
            path: the file; for ``png`` with several frames, a folder of that name without its
                suffix.
            metadata: text entries, in any script and of any length.
            format: one of ``FORMATS``; by default the path's suffix.
            loop: how often GIF, WebP and APNG play; 0 is forever.
            sound: a file whose sound is copied beside the frames, if the format can hold it as it
                is.

        Raises:
            InputError: the format is unknown.
            OutputError: the folder is read-only or full; nothing is left behind.
        """
        return write_video(
            self.frames,
            self.fps,
            Path(path),
            metadata=metadata or {},
            kind=format,
            loop=loop,
            sound=sound,
        )

    @classmethod
    def load(cls, path: str | Path, *, max_pixels: int = MAX_PIXELS) -> Video:
        """Read a video file, or a folder of PNG frames that ``save`` wrote.

        Args:
            path: the file or folder; its format is recognised from its content.
            max_pixels: largest width x height x frames that is decoded.

        Raises:
            FileError: it is missing, broken, cut short, too large, or not a video.
        """
        frames, fps = read_video(Path(path), max_pixels=max_pixels)
        return cls(frames, fps)

    def contact_sheet(self, *, columns: int = 4) -> Image.Image:
        """Return all frames as one picture, row by row."""
        columns = min(columns, self.num_frames)
        rows = math.ceil(self.num_frames / columns)
        _, height, width, _ = self.frames.shape
        sheet = Image.new("RGB", (columns * width, rows * height), "white")
        for index, frame in enumerate(self.frames):
            left, top = index % columns * width, index // columns * height
            sheet.paste(Image.fromarray(frame), (left, top))
        return sheet


def grid(videos: Sequence[Video], labels: Sequence[str]) -> Video:
    """Put videos side by side with a label under each, at the first video's rate.

    A shorter video holds its last frame; a smaller one is centred on white.

    Raises:
        InputError: there are no videos, or the number of labels differs.
    """
    if not videos or len(videos) != len(labels):
        raise InputError(
            f"{len(videos)} videos were given with {len(labels)} labels; give one label each."
        )
    columns = math.ceil(math.sqrt(len(videos)))
    rows = math.ceil(len(videos) / columns)
    height = max(v.frames.shape[1] for v in videos) + LABEL_HEIGHT
    width = max(v.frames.shape[2] for v in videos)
    count = max(v.num_frames for v in videos)
    canvas: Frames = np.full((count, rows * height, columns * width, 3), 255, np.uint8)
    for index, (video, label) in enumerate(zip(videos, labels, strict=True)):
        top, left = index // columns * height, index % columns * width
        frames = video.frames[np.minimum(np.arange(count), video.num_frames - 1)]
        y = top + (height - LABEL_HEIGHT - frames.shape[1]) // 2
        x = left + (width - frames.shape[2]) // 2
        canvas[:, y : y + frames.shape[1], x : x + frames.shape[2]] = frames
        strip = top + height - LABEL_HEIGHT
        canvas[:, strip : top + height, left : left + width] = _label(label, width)
    return Video(canvas, videos[0].fps)


def _label(text: str, width: int) -> UInt8[np.ndarray, "height width 3"]:
    picture = Image.new("RGB", (width, LABEL_HEIGHT), "white")
    font = ImageFont.load_default(size=11)
    printable = " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
    ImageDraw.Draw(picture).text((3, 2), printable, fill="black", font=font)
    return np.asarray(picture)
