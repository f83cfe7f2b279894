"""Decode any clip into frames at a constant rate, within limits, or fail with one sentence.

The format is recognised from the content, and only demuxers that open no other file are used.
Frames look as in a player: rotated as the file says, with square pixels, on white where
transparent, and in the range of a standard screen. They are selected by their timestamps, so a
variable rate becomes constant.

Nothing here imports torch: this runs in the child process of ``data/decoding/confined.py``.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from fractions import Fraction

import numpy as np
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError

from animatediff.data.decoding.containers import container_of, member_of
from animatediff.data.decoding.media import Frame, Limits, Media, Opened, Picture, check_bound
from animatediff.data.decoding.pictures import animated, numbered
from animatediff.data.decoding.videos import demuxed
from animatediff.errors import FileError
from animatediff.video import Video

TICK = 0.0006
"""Seconds by which a container such as Matroska may have rounded a time, plus a margin."""


def decode(
    media: Media,
    *,
    fps: Fraction | None = None,
    start: float = 0.0,
    end: float | None = None,
    count: int | None = None,
    size: tuple[int, int] | None = None,
    side: int | None = None,
    limits: Limits | None = None,
) -> Video:
    """Decode a clip, or a part of it, at a constant rate.

    Frame k is the one on screen in the middle of the k-th interval of 1/fps seconds. At its own
    rate, a clip is returned frame for frame, however its times were rounded.

    Args:
        media: the clip's place.
        fps: the rate; ``None`` for the clip's own.
        start: seconds from the clip's beginning.
        end: seconds from the clip's beginning; ``None`` for its end.
        count: the largest number of frames.
        size: width and height: frames are scaled to cover it and cropped in the middle.
        side: the largest short side in pixels; not together with ``size``.
        limits: limits of decoding.

    Raises:
        FileError: the file is missing, broken, cut short, not a clip, or beyond the limits.
    """
    limits = limits or Limits()
    with opened(media, limits=limits, start=start) as clip:
        rate = fps or clip.fps
        kept: list[Picture] = []
        pixels = 0

        def keep(frame: Frame, until: float) -> None:
            nonlocal pixels
            picture: Picture | None = None
            while start + (len(kept) + 0.5) / float(rate) + TICK < until and not _enough(
                kept, count
            ):
                if picture is None:
                    picture = _fitted(frame, size=size, side=side)
                pixels += picture.shape[0] * picture.shape[1]
                check_bound(
                    media, pixels, limits.kept_pixels, "pixels to keep", "cut it or shrink it"
                )
                kept.append(picture)

        last: Frame | None = None
        for frame in clip.frames:
            if last is not None:
                keep(last, _earlier(frame.time, end))
            last = frame
            if _enough(kept, count) or (end is not None and frame.time >= end):
                break
        else:
            if last is not None:
                keep(last, _earlier(last.time + last.length, end))
        if not kept and last is not None and last.time + last.length > start:
            kept.append(_fitted(last, size=size, side=side))
    if not kept:
        raise FileError(f"{media.path} ends before {start:g} s, where the clip should start.")
    if any(picture.shape != kept[0].shape for picture in kept):
        raise FileError(f"{media.path} changes its frame size; cut it there.")
    return Video(np.stack(kept), rate)


def frames_within(seconds: float, fps: Fraction | float) -> int:
    """Return how many frames ``decode`` takes from this many seconds: those whose middle is inside."""
    return max(0, math.ceil((seconds - TICK) * float(fps) - 0.5))


@contextmanager
def opened(media: Media, *, limits: Limits, start: float = 0.0) -> Generator[Opened, None, None]:
    """Open a clip and read it from (just before) ``start`` seconds on.

    Raises:
        FileError: as for ``decode``; also while frames are being read.
    """
    try:
        if media.pictures:
            yield numbered(media, limits)
            return
        with media.path.open("rb") as whole:
            file = member_of(whole, media)
            container = container_of(file, media)
            if container == "picture":
                yield animated(file, media, limits)
            else:
                with demuxed(file, container, media, limits, start) as clip:
                    yield clip
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FileError(f"{media.path} is too large a picture; make it smaller.") from None
    except UnidentifiedImageError:
        raise FileError(f"{media.path} is a picture that is broken; get it again.") from None
    except (FFmpegError, SyntaxError, EOFError, OSError, ValueError) as error:
        if isinstance(error, FileError):
            raise
        raise FileError(f"{media.path} is broken ({_short(error)}); get it again.") from None


def _earlier(time: float, end: float | None) -> float:
    return time if end is None else min(time, end)


def _enough(kept: list[Picture], count: int | None) -> bool:
    return count is not None and len(kept) >= count


def _fitted(frame: Frame, *, size: tuple[int, int] | None, side: int | None) -> Picture:
    """Resize a frame."""
    if size is not None:
        factor = max(size[0] / frame.width, size[1] / frame.height)
        width = max(size[0], round(frame.width * factor))
        height = max(size[1], round(frame.height * factor))
        left, top = (width - size[0]) // 2, (height - size[1]) // 2
        return frame.drawn(width, height)[top : top + size[1], left : left + size[0]]
    factor = min(1.0, side / min(frame.width, frame.height)) if side is not None else 1.0
    return frame.drawn(
        max(1, math.ceil(frame.width * factor)), max(1, math.ceil(frame.height * factor))
    )


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120].rstrip(".")
