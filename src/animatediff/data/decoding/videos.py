"""Decode videos with FFmpeg: in order, as a player shows them, and never fewer than promised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.video.reformatter import VideoReformatter

from animatediff.data.decoding.media import (
    FRAMES_RATE,
    Frame,
    Limits,
    Media,
    Opened,
    Picture,
    check_bound,
)
from animatediff.data.decoding.plain_screen import for_a_plain_screen
from animatediff.errors import FileError
from animatediff.video.colours import CONVERTING_THREADS, matrix_of
from animatediff.video.pictures import on_background
from animatediff.video.upright import upright_of

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that support transparency, which FFmpeg's own ignore."""
_HDR = {16: "PQ", 18: "HLG"}

_Scalers = Mapping[tuple[str, int, int], VideoReformatter]
"""A clip's scalers by pixel format, width and height: setting one up costs more than a small frame."""


@contextmanager
def demuxed(
    file: BinaryIO, container: str, media: Media, limits: Limits, start: float
) -> Generator[Opened, None, None]:
    """Read a video from (just before) ``start`` seconds on.

    Raises:
        FileError: it has no video stream, is damaged or cut short, or is beyond the limits.
    """
    file.seek(0)
    # The demuxer is named and reads from an open file: nothing in the file can make it open
    # another.
    with av.open(file, format=container, options={"protocol_whitelist": "file"}) as source:
        if not source.streams.video:
            what = "only sound" if source.streams.audio else "no video"
            raise FileError(f"{media.path} holds {what}.")
        stream: Any = source.streams.video[0]
        check_bound(
            media, stream.width * stream.height, limits.frame_pixels, "pixels a frame", "shrink it"
        )
        rate = _rate_of(stream, media)
        if stream.frames > limits.frames and not start:
            check_bound(media, stream.frames, limits.frames, "frames", "cut it into clips")
        stream.codec_context.thread_count = 1  # threads of a decoder and processes do not mix well
        yield Opened(
            kind=f"{stream.codec_context.name} in {container}",
            fps=rate,
            hdr=_HDR.get(int(stream.codec_context.color_trc or 0)),
            frames=_decoded(source, stream, rate, container, media, limits, start),
        )


def _rate_of(stream: Any, media: Media) -> Fraction:
    rate = media.fps or stream.average_rate or stream.guessed_rate or FRAMES_RATE
    return Fraction(rate) if 0 < rate <= 1000 else FRAMES_RATE


def _decoded(
    source: Any,
    stream: Any,
    rate: Fraction,
    container: str,
    media: Media,
    limits: Limits,
    start: float,
) -> Iterator[Frame]:
    interval = 1 / float(rate)
    unit = float(stream.time_base)
    begin = stream.start_time * unit if stream.start_time is not None else None
    if start > 0:
        source.seek(int((start + (begin or 0.0)) / unit), stream=stream, backward=True)
    decode_packet = _decoder_of(stream)
    scalers: _Scalers = defaultdict(VideoReformatter)
    packets = discarded = shown = 0
    finish = 0.0
    for packet in source.demux(stream):
        if packet.size:
            packets += 1
            discarded += packet.is_discard
        for picture in decode_packet(packet):
            if picture.is_corrupt:
                raise FileError(
                    f"{media.path} is damaged at {shown * interval:.1f} s; get it again."
                )
            time = picture.pts * unit if picture.pts is not None else shown * interval
            if begin is None:
                begin = time
            check_bound(
                media,
                picture.width * picture.height,
                limits.frame_pixels,
                "pixels a frame",
                "shrink it",
            )
            shown += 1
            check_bound(media, shown, limits.frames, "frames", "cut it into clips")
            check_bound(media, time - begin - start, limits.seconds, "seconds", "cut it into clips")
            length = (picture.duration or 0) * unit or interval
            finish = time - begin + length
            yield _shown(picture, stream, time - begin, length, scalers)
    if not shown:
        raise FileError(f"{media.path} is cut short: not one frame can be decoded; get it again.")
    if start == 0 and container == "mov" and not discarded and shown < min(packets, stream.frames):
        raise FileError(
            f"{media.path} is cut short: {shown} of {stream.frames} frames can be decoded; "
            "get it again."
        )
    promised = _seconds_of(source, stream)
    if promised is not None and finish < promised - max(2 * interval, 0.25):
        raise FileError(
            f"{media.path} is cut short: {finish:.1f} of {promised:.1f} s can be decoded; "
            "get it again."
        )


def _decoder_of(stream: Any) -> Callable[[Any], list[Any]]:
    """Decode packets into frames."""
    name = _WITH_ALPHA.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return lambda packet: packet.decode()
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.thread_count = 1
    return lambda packet: decoder.decode(packet if packet.size else None)


def _seconds_of(source: Any, stream: Any) -> float | None:
    """Return the duration that the file declares, if any."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    duration = stream.metadata.get("DURATION", "")
    hours, _, rest = duration.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        pass
    # The container's duration may be its sound's.
    if source.duration is not None and not source.streams.audio:
        return source.duration / av.time_base
    return None


def _shown(picture: Any, stream: Any, time: float, length: float, scalers: _Scalers) -> Frame:
    """Convert a decoded frame to what a player shows."""
    upright = upright_of(picture)
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width = max(1, round(picture.width * aspect)) if 0.1 < aspect < 10 else picture.width
    height = picture.height
    if upright.swap:
        width, height = height, width

    def drawn(wide: int, high: int) -> Picture:
        if upright.swap:
            wide, high = high, wide
        return upright(_scaled(picture, wide, high, scalers))

    return Frame(time, length, width, height, upright.turned, drawn)


def _scaled(picture: Any, width: int, height: int, scalers: _Scalers) -> Picture:
    shrinks = width < picture.width or height < picture.height
    interpolation = "AREA" if shrinks else "BICUBIC"
    matrix = matrix_of(picture)

    def converted(pixels: str) -> Any:
        return (
            scalers[pixels, width, height]
            .reformat(
                picture,
                width,
                height,
                format=pixels,
                src_colorspace=matrix,
                interpolation=interpolation,
                threads=CONVERTING_THREADS,
            )
            .to_ndarray()
        )

    if any(part.is_alpha for part in picture.format.components):
        return on_background(converted("rgba"))
    transfer = _HDR.get(int(picture.color_trc or 0))
    if transfer is not None:
        return for_a_plain_screen(converted("rgb48le"), transfer)
    return converted("rgb24")
