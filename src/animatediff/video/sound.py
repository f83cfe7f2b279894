"""The sound of one video file, copied packet by packet into another."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError

_IN_MP4 = frozenset({"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac"})
_FITS = {
    "mp4": _IN_MP4,
    "av1.mp4": _IN_MP4,
    "mov": frozenset({"aac", "mp3", "ac3", "alac", "pcm_s16le", "pcm_s16be", "pcm_s24le"}),
    "webm": frozenset({"opus", "vorbis"}),
    "mkv": frozenset(
        {"aac", "mp3", "ac3", "eac3", "alac", "opus", "flac", "vorbis", "pcm_s16le", "pcm_s24le"}
    ),
}
"""The sound codecs that players expect in each container."""


def sound_codec(path: Path) -> str | None:
    """The codec of a file's sound; ``None`` if it has none or is not a video."""
    try:
        with av.open(f"file:{path}") as container:
            streams = container.streams.audio
            return streams[0].codec_context.name.removesuffix("float") if streams else None
    except (FFmpegError, OSError, ValueError):
        return None


def fits(codec: str, kind: str) -> bool:
    """Whether a container can hold sound of a codec as it is."""
    return codec in _FITS.get(kind, ())


def holds_sound(kind: str) -> bool:
    """Whether files of a format hold sound at all."""
    return kind in _FITS


@contextmanager
def sound_beside(
    pictures: OutputContainer, path: Path | None, *, kind: str, seconds: Fraction
) -> Generator[Callable[[Fraction], None]]:
    """Add the sound of a file to a container that is being written.

    Args:
        pictures: the container; its video stream was added.
        path: the file with the sound; ``None`` for none.
        kind: the container's format; sound that it cannot hold as it is is left out.
        seconds: how much of the sound is copied.

    Yields:
        A function that copies the sound up to a time in seconds, to be called while pictures are
        written.
    """
    codec = None if path is None else sound_codec(path)
    if path is None or codec is None or not fits(codec, kind):
        yield lambda _: None
        return
    with av.open(f"file:{path}") as source:
        stream = source.streams.audio[0]
        copy = pictures.add_stream_from_template(stream)
        begin = _begin(source.streams.video[0].start_time, source.streams.video[0].time_base)
        packets = source.demux(stream)
        waiting = next(packets, None)

        def up_to(time: Fraction) -> None:
            nonlocal waiting
            while waiting is not None:
                if waiting.pts is None or waiting.dts is None:  # the end of the stream
                    waiting = next(packets, None)
                    continue
                base = waiting.time_base or Fraction(1, 1)
                if waiting.pts * base - begin >= min(time, seconds):
                    return
                shift = round(begin / base)
                waiting.pts -= shift
                waiting.dts -= shift
                waiting.stream = copy
                pictures.mux(waiting)
                waiting = next(packets, None)

        yield up_to


def _begin(start: int | None, base: Fraction | None) -> Fraction:
    return start * base if start is not None and base is not None else Fraction(0)
