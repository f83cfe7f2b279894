"""Decode pictures with Pillow: stills, animations, strips of frames, and numbered files."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import BinaryIO

import numpy as np
from PIL import Image

from animatediff.data.decoding.media import (
    FRAMES_RATE,
    Frame,
    Limits,
    Media,
    Opened,
    Picture,
    check_bound,
)
from animatediff.errors import FileError
from animatediff.video.pictures import count_frames, open_picture, shown


def animated(file: BinaryIO, media: Media, limits: Limits) -> Opened:
    """Read a still, an animation of GIF, WebP, PNG or AVIF, or a tall strip of frames."""
    file.seek(0)
    picture = open_picture(file)
    area = picture.width * picture.height // max(1, media.strip)
    check_bound(media, area, limits.frame_pixels, "pixels a frame", "shrink it")
    if media.strip:
        frames, rate = _strip(picture, media), media.fps or FRAMES_RATE
    else:
        count = count_frames(picture)
        check_bound(media, count, limits.frames, "frames", "cut it into clips")
        rate = _animation_rate(picture, count)
        frames = _played(picture, count, rate, media, limits)
    return Opened(str(picture.format).lower(), rate, None, frames)


def _strip(picture: Image.Image, media: Media) -> Iterator[Frame]:
    high, rest = divmod(picture.height, media.strip)
    if rest:
        raise FileError(
            f"{media.path} holds a strip that is not {media.strip} frames of equal size."
        )
    interval = 1 / float(media.fps or FRAMES_RATE)
    for index in range(media.strip):
        part = picture.crop((0, index * high, picture.width, (index + 1) * high))
        yield _drawn(part, index * interval, interval)


def _animation_rate(picture: Image.Image, count: int) -> Fraction:
    """The rate of the shortest frame, so that no motion is lost."""
    if count == 1:
        return FRAMES_RATE
    shortest = min(_shown_for(picture, index) for index in range(count))
    return Fraction(1000, max(10, round(shortest)))


def _shown_for(picture: Image.Image, index: int) -> float:
    picture.seek(index)
    picture.load()  # WebP gives a frame's time only with its pixels
    return float(picture.info.get("duration", 0)) or 100.0


def _played(
    picture: Image.Image, count: int, rate: Fraction, media: Media, limits: Limits
) -> Iterator[Frame]:
    time = 0.0
    for index in range(count):
        length = _shown_for(picture, index) / 1000 if count > 1 else 1 / float(rate)
        check_bound(media, time, limits.seconds, "seconds", "cut it into clips")
        yield _drawn(picture, time, length)
        time += length


def _drawn(picture: Image.Image, time: float, length: float) -> Frame:
    rgb = Image.fromarray(shown(picture))

    def drawn(width: int, height: int) -> Picture:
        if (width, height) == rgb.size:
            return np.asarray(rgb)
        return np.asarray(rgb.resize((width, height), Image.Resampling.LANCZOS))

    return Frame(time, length, rgb.width, rgb.height, 0, drawn)


def numbered(media: Media, limits: Limits) -> Opened:
    """Read a folder of pictures, one after another."""
    rate = media.fps or FRAMES_RATE
    check_bound(media, len(media.pictures), limits.frames, "frames", "cut it into clips")

    def frames() -> Iterator[Frame]:
        for index, path in enumerate(media.pictures):
            with path.open("rb") as file, open_picture(file) as picture:
                area = picture.width * picture.height
                check_bound(media, area, limits.frame_pixels, "pixels a frame", "shrink it")
                yield _drawn(picture, float(index / rate), float(1 / rate))

    return Opened("pictures", rate, None, frames())
