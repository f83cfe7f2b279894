"""A folder of one's own videos and pictures as training clips, each with its caption.

``fox.mp4`` and ``fox.txt`` beside it are one clip; without a text, the file's name is the caption. Only
the frames of one window are ever in memory, at no more than twice the size they are learned at.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from av.error import FFmpegError
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from animatediff.data.camera import CameraMove, Crop, cropped, filmed
from animatediff.errors import FileError, InputError

VIDEOS = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v", ".gif"})
PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp"})
MAX_FRAME_PIXELS = 1 << 26
MAX_CAPTION = 4000
MAX_BAD = 0.1
"""The share of clips that may be broken before a folder is refused."""

Pixels = UInt8[np.ndarray, "f height width 3"]


@dataclass(frozen=True)
class Footage:
    """Frames of one clip in a row, square, and what they show."""

    frames: Pixels
    caption: str


@dataclass(frozen=True)
class Source:
    """One file: a video, or a picture, which is a video of one frame.

    Attributes:
        path: the file.
        caption: what it shows.
        seconds: how long it is; 0 for a picture.
        fps: its own rate.
    """

    path: Path
    caption: str
    seconds: float
    fps: Fraction

    def window(self, *, start: float, count: int, fps: float, side: int) -> Pixels:
        """``count`` frames from ``start`` seconds on, its short side at most ``side`` px.

        Raises:
            FileError: the file is broken or holds fewer frames than it promised.
        """
        try:
            if not self.seconds:
                picture = _picture(self.path, side=side)
                return np.repeat(picture[None], count, axis=0)
            return _decoded(self.path, [start + i / fps for i in range(count)], side=side)
        except (FFmpegError, OSError, UnidentifiedImageError, SyntaxError) as error:
            raise FileError(f"{self.path} is broken ({_short(error)}); take it out.") from None


@dataclass(frozen=True)
class FolderClips:
    """The clips of a folder; clip i is a pure function of i and a generator.

    Attributes:
        sources: the files that can be read, by name.
        rejected: the others, with the reason.
        size: pixels of a side of what is learned from.
        fps: frames a second of what is learned from, whatever a file's own rate.
        pattern: a camera move to film every clip with; ``None`` leaves clips as they are.
    """

    sources: tuple[Source, ...]
    rejected: tuple[str, ...]
    size: int
    fps: float
    pattern: str | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """A window of a clip from a random start, and its caption.

        A clip that is shorter than the window ends in its last frame, held.
        """
        source = self.sources[index]
        room = max(0.0, source.seconds - num_frames / self.fps)
        start = room * float(torch.rand((), generator=generator))
        frames = source.window(start=start, count=num_frames, fps=self.fps, side=2 * self.size)
        if self.pattern is None or num_frames == 1:
            seen = cropped(frames, [Crop(1.0)] * num_frames, size=self.size)
        else:
            seen = filmed(frames, CameraMove.drawn(self.pattern, generator), size=self.size)
        return Footage(seen, source.caption)

    def some(self, first: int, count: int | None) -> FolderClips:
        """``count`` of the clips, from ``first`` on.

        Raises:
            InputError: there are fewer.
        """
        end = len(self.sources) if count is None else first + count
        if not first < end <= len(self.sources):
            raise InputError(
                f"There are {len(self.sources)} clips to learn from, too few for {count} "
                f"from {first} on."
            )
        return replace(self, sources=self.sources[first:end])

    def fingerprint(self) -> str:
        """A hash of what is learned from: names, sizes and captions, but not where the folder is."""
        facts = [f"{self.size} {self.fps} {self.pattern}"]
        facts += [f"{s.path.name}\n{s.path.stat().st_size}\n{s.caption}" for s in self.sources]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


def read_folder(
    folder: Path, *, size: int, fps: float = 8.0, pattern: str | None = None, stills: bool = False
) -> FolderClips:
    """Every clip of a folder; what cannot be read is set aside with its reason.

    Args:
        folder: videos and pictures, each with a ``.txt`` of the same name if it has a caption.
        size: pixels of a side.
        fps: frames a second.
        pattern: a camera move, see ``data/camera.py``.
        stills: whether pictures count as clips; motion is not learned from them.

    Raises:
        InputError: there is no such folder, nothing in it, or no such pattern.
        FileError: over a tenth of its clips are broken.
    """
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}; give one of videos or pictures.")
    if pattern is not None:
        CameraMove(pattern, 1.0)
    wanted = VIDEOS | PICTURES if stills or pattern is not None else VIDEOS
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in wanted)
    if not paths:
        kinds = "videos or pictures" if wanted & PICTURES else "videos"
        raise InputError(f"{folder} holds no {kinds} ({', '.join(sorted(wanted))}).")
    sources: list[Source] = []
    rejected: list[str] = []
    for path in paths:
        try:
            sources.append(_source(path))
        except FileError as error:
            rejected.append(str(error))
    if len(rejected) > MAX_BAD * len(paths):
        raise FileError(
            f"{len(rejected)} of {len(paths)} clips of {folder} cannot be used, the first because "
            f"{rejected[0]}"
        )
    return FolderClips(tuple(sources), tuple(rejected), size, fps, pattern)


def _source(path: Path) -> Source:
    caption = _caption(path)
    try:
        if path.suffix.lower() in PICTURES:
            _picture(path, side=64)
            return Source(path, caption, 0.0, Fraction(1))
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise FileError(f"{path} holds no video stream.")
            stream = container.streams.video[0]
            if stream.width * stream.height > MAX_FRAME_PIXELS:
                raise FileError(f"{path} has frames of {stream.width}x{stream.height}, too large.")
            rate = Fraction(stream.average_rate or 8)
            seconds = _seconds(container, stream, rate)
    except (FFmpegError, OSError, UnidentifiedImageError, SyntaxError) as error:
        raise FileError(f"{path} is broken ({_short(error)}).") from None
    source = Source(path, caption, seconds, rate)
    # A file that was cut short opens well and decodes nothing.
    source.window(start=max(0.0, seconds - 1 / float(rate)), count=1, fps=8, side=64)
    return source


def _seconds(container: Any, stream: Any, rate: Fraction) -> float:
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return container.duration / av.time_base
    return stream.frames / float(rate) if stream.frames else 1 / float(rate)


def _caption(path: Path) -> str:
    text = path.with_suffix(".txt")
    if not text.exists():
        return path.stem.replace("_", " ").replace("-", " ")
    try:
        with text.open(encoding="utf-8") as file:
            return " ".join(file.read(MAX_CAPTION).split())
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{text} is no UTF-8 text ({_short(error)}).") from None


def _picture(path: Path, *, side: int) -> UInt8[np.ndarray, "height width 3"]:
    with Image.open(path, formats=["PNG", "JPEG", "WEBP", "BMP"]) as picture:
        if picture.width * picture.height > MAX_FRAME_PIXELS:
            raise FileError(f"{path} has {picture.width}x{picture.height} pixels, too many.")
        rgba = picture.convert("RGBA")
    white = Image.new("RGBA", rgba.size, "white")
    rgb = Image.alpha_composite(white, rgba).convert("RGB")
    width, height = _reduced(rgb.width, rgb.height, side)
    return np.asarray(rgb.resize((width, height), Image.Resampling.LANCZOS))


def _decoded(path: Path, times: list[float], *, side: int) -> Pixels:
    """The frames shown at these times, ascending; past the end, the last one."""
    frames: list[UInt8[np.ndarray, "height width 3"]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        # Several threads of a decoder and several processes do not go well together.
        stream.codec_context.thread_count = 1
        assert stream.time_base is not None
        begin = float((stream.start_time or 0) * stream.time_base)
        if times[0] > 0:
            wanted = int((times[0] + begin) / stream.time_base)
            container.seek(wanted, stream=stream, backward=True)
        size = _reduced(stream.width, stream.height, side)
        shown: UInt8[np.ndarray, "height width 3"] | None = None
        for frame in _until(container.decode(stream), times[-1] + begin):
            time = (frame.time or 0.0) - begin
            while shown is not None and len(frames) < len(times) and times[len(frames)] < time:
                frames.append(shown)
            smaller = frame.reformat(width=size[0], height=size[1], interpolation="AREA")
            shown = smaller.to_ndarray(format="rgb24")
    if shown is None:
        raise FileError(f"{path} is cut short: no frame could be decoded; take it out.")
    frames += [shown] * (len(times) - len(frames))
    return np.stack(frames)


def _until(decoded: Iterable[Any], last: float) -> Iterator[Any]:
    """Frames up to the first one after ``last``, which shows that nothing lies between."""
    for frame in decoded:
        yield frame
        if frame.time is not None and frame.time > last:
            return


def _reduced(width: int, height: int, side: int) -> tuple[int, int]:
    """The size with a short side of at most ``side``."""
    factor = min(1.0, side / min(width, height))
    return max(1, math.ceil(width * factor)), max(1, math.ceil(height * factor))


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120].rstrip(".")
