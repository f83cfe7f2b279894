"""Pictures out of files: any clip as frames at an even rate, within bounds, or one sentence why not.

What a file is is told by its content, and only by demuxers that open nothing else. Frames are shown
as a player shows them: turned as the file says, with square pixels, on white where transparent, in
the range of a plain screen. They are taken by their times, so a varying rate becomes an even one.

Nothing here imports torch: this runs in the child process of ``data/confined.py``.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import Float, UInt8, UInt16
from PIL import Image, UnidentifiedImageError

from animatediff.errors import FileError
from animatediff.video import Video

Picture = UInt8[np.ndarray, "height width 3"]
Frames = UInt8[np.ndarray, "frames height width 3"]

PICTURE_FORMATS = ("GIF", "PNG", "WEBP", "JPEG", "AVIF", "BMP")
TICK = 0.0006
"""Seconds by which a container such as Matroska may have rounded a time, and a little more."""
FRAMES_RATE = Fraction(8)
"""The rate of numbered pictures that do not say theirs."""


@dataclass(frozen=True)
class Limits:
    """How much of a file is decoded at most.

    Attributes:
        frame_pixels: width x height of one frame (4K cinema fits, 4096 x 4096 does not).
        frames: frames looked at.
        seconds: of video looked at.
        kept_pixels: width x height x frames handed over, after resizing.
        timeout: seconds that one clip may take; kept by ``data/confined.py``.
        memory: bytes of address space of the process that decodes; kept there too.
    """

    frame_pixels: int = 4096 * 2304
    frames: int = 36_000
    seconds: float = 600.0
    kept_pixels: int = 1 << 28
    timeout: float = 120.0
    memory: int = 6 << 30


@dataclass(frozen=True)
class Media:
    """Where the pictures of a clip are.

    Attributes:
        path: the file; for numbered pictures, their folder.
        offset: where in the file the clip begins, for a member of an archive.
        length: how many bytes it has; ``None`` is to the end.
        pictures: the files of numbered pictures, in order.
        fps: the rate, where the pictures cannot tell.
        strip: so many frames are stacked in one tall picture.
    """

    path: Path
    offset: int = 0
    length: int | None = None
    pictures: tuple[Path, ...] = ()
    fps: Fraction | None = None
    strip: int = 0


@dataclass(frozen=True)
class Frame:
    """One picture of a clip and when it is shown; drawn only if it is wanted.

    Attributes:
        time: seconds since the clip's first picture.
        length: seconds it is shown.
        width: pixels as shown, after turning and with square pixels.
        height: the same.
        turned: degrees by which the file asks a player to turn it, counterclockwise.
        drawn: the picture at a width and a height.
    """

    time: float
    length: float
    width: int
    height: int
    turned: int
    drawn: Callable[[int, int], Picture]


@dataclass(frozen=True)
class Opened:
    """A clip that is being read.

    Attributes:
        kind: codec and container, for reports.
        fps: its rate, on average.
        hdr: the transfer function, where it is not that of a plain screen.
        frames: its frames in the order they are shown; raises when they end too soon.
    """

    kind: str
    fps: Fraction
    hdr: str | None
    frames: Iterator[Frame]


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
    """The frames of a clip, or of a part of it, at an even rate.

    Frame k is the one on screen in the middle of the k-th interval of 1/fps seconds, so that at its
    own rate a clip comes out frame for frame, however its times were rounded.

    Args:
        media: where the clip is.
        fps: the rate wanted; its own if ``None``.
        start: seconds from the clip's beginning.
        end: seconds from the clip's beginning; its end if ``None``.
        count: at most so many frames.
        size: width and height: scaled to cover them, and cut in the middle.
        side: the short side is at most so many pixels; not together with ``size``.
        limits: what is too much.

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
                _check(media, pixels, limits.kept_pixels, "pixels to keep", "cut it or shrink it")
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
        raise FileError(f"{media.path} ends before {start:g} s, where its clip would begin.")
    if any(picture.shape != kept[0].shape for picture in kept):
        raise FileError(f"{media.path} changes its size on the way; cut it where it does.")
    return Video(np.stack(kept), rate)


def frames_within(seconds: float, fps: Fraction | float) -> int:
    """How many frames ``decode`` takes of so many seconds: those whose middle lies within."""
    return max(0, math.ceil((seconds - TICK) * float(fps) - 0.5))


@contextmanager
def opened(media: Media, *, limits: Limits, start: float = 0.0) -> Generator[Opened, None, None]:
    """Open a clip and read it from (just before) ``start`` seconds on.

    Raises:
        FileError: as for ``decode``; also while the frames are read.
    """
    try:
        if media.pictures:
            yield _numbered(media, limits)
            return
        with media.path.open("rb") as whole:
            file = _member(whole, media)
            container = _container_of(file, media)
            if container == "picture":
                yield _animated(file, media, limits)
            else:
                with _demuxed(file, container, media, limits, start) as clip:
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


def _check(media: Media, found: float, most: float, what: str, remedy: str) -> None:
    if found > most:
        raise FileError(
            f"{media.path} has {found:,.0f} {what} or more, and at most {most:,.0f} are decoded; "
            f"{remedy}."
        )


def _fitted(frame: Frame, *, size: tuple[int, int] | None, side: int | None) -> Picture:
    """A frame at the size asked for."""
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


# --- what a file is -------------------------------------------------------------------------------

_MAGIC = (
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"OggS", "ogg"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (8, b"AVI ", "avi"),
    (8, b"WEBP", "picture"),
    (0, b"GIF8", "picture"),
    (0, b"\x89PNG\r\n\x1a\n", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (0, b"BM", "picture"),
    *((4, box, "mov") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")),
)
_TS_PACKET = 188
_ELSEWHERE = (b"#EXTM3U", b"ffconcat", b"<svg", b"<?xml", b"<SMIL", b"<MPD", b"[playlist]")


def _container_of(file: BinaryIO, media: Media) -> str:
    """The demuxer that a file needs, by its first bytes."""
    head = file.read(_TS_PACKET + 1)
    if not head:
        raise FileError(f"{media.path} is empty; get it again.")
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "picture"
    for place, magic, container in _MAGIC:
        if head[place : place + len(magic)] == magic:
            if container == "mov":
                _check_boxes(file, media)
            elif container == "avi":
                _check_extent(file, media, 8 + int.from_bytes(head[4:8], "little"))
            return container
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:
        return "mpegts"
    if head.lstrip().startswith(_ELSEWHERE):
        raise FileError(f"{media.path} only points to other files; give those instead.")
    raise FileError(f"{media.path} is not a video or picture that can be read.")


def _check_boxes(file: BinaryIO, media: Media) -> None:
    """An MP4 or MOV is a row of boxes, each telling its length: whole, and with an index among them."""
    size = _extent(file)
    here, names = 0, set[bytes]()
    while here + 8 <= size:
        file.seek(here)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - here
        if length < 8:
            break
        names.add(head[4:8])
        here += length
    if b"moov" not in names and b"moof" not in names:
        why = "was cut short" if here > size else "recording was not finished"
        raise FileError(f"{media.path} has no index: it {why}; get it again.")
    if here > size:
        raise FileError(
            f"{media.path} is cut short: it promises {here:,} bytes and has {size:,}; get it again."
        )


def _check_extent(file: BinaryIO, media: Media, promised: int) -> None:
    size = _extent(file)
    if promised > size:
        raise FileError(
            f"{media.path} is cut short: it promises {promised:,} bytes and has {size:,}; "
            "get it again."
        )


def _extent(file: BinaryIO) -> int:
    return file.seek(0, os.SEEK_END)


def _member(whole: BinaryIO, media: Media) -> BinaryIO:
    """A file as it is, or the member of an archive that is wanted."""
    if media.length is None:
        return whole
    whole.seek(media.offset)
    content = whole.read(media.length)
    if len(content) < media.length:
        raise FileError(f"{media.path} is cut short: its last member is not whole; get it again.")
    return io.BytesIO(content)


# --- videos ---------------------------------------------------------------------------------------

_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that see the transparency which FFmpeg's own leave out."""
_HDR = {16: "PQ", 18: "HLG"}


@contextmanager
def _demuxed(
    file: BinaryIO, container: str, media: Media, limits: Limits, start: float
) -> Generator[Opened, None, None]:
    file.seek(0)
    # The demuxer is named and reads from an open file: nothing in the file makes it open another.
    with av.open(file, format=container, options={"protocol_whitelist": "file"}) as source:
        if not source.streams.video:
            what = "only sound" if source.streams.audio else "no video"
            raise FileError(f"{media.path} holds {what}.")
        stream: Any = source.streams.video[0]
        _check(
            media, stream.width * stream.height, limits.frame_pixels, "pixels a frame", "shrink it"
        )
        rate = _rate_of(stream, media)
        if stream.frames > limits.frames and not start:
            _check(media, stream.frames, limits.frames, "frames", "cut it into clips")
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
            _check(
                media,
                picture.width * picture.height,
                limits.frame_pixels,
                "pixels a frame",
                "shrink it",
            )
            shown += 1
            _check(media, shown, limits.frames, "frames", "cut it into clips")
            _check(media, time - begin - start, limits.seconds, "seconds", "cut it into clips")
            length = (picture.duration or 0) * unit or interval
            finish = time - begin + length
            yield _shown(picture, stream, time - begin, length)
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
    """From packets to frames, by the decoder that sees all of them."""
    name = _WITH_ALPHA.get(stream.codec_context.name)
    if name is None or stream.metadata.get("alpha_mode") != "1":
        return lambda packet: packet.decode()
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.thread_count = 1
    return lambda packet: decoder.decode(packet if packet.size else None)


def _seconds_of(source: Any, stream: Any) -> float | None:
    """How long the file says that its pictures last, if it does."""
    if stream.duration is not None:
        return float(stream.duration * stream.time_base)
    told = stream.metadata.get("DURATION", "")
    hours, _, rest = told.partition(":")
    minutes, _, seconds = rest.partition(":")
    try:
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        pass
    # That of the container may be that of its sound.
    if source.duration is not None and not source.streams.audio:
        return source.duration / av.time_base
    return None


def _shown(picture: Any, stream: Any, time: float, length: float) -> Frame:
    """A decoded frame as a player shows it."""
    quarter_turns = round(picture.rotation / 90) % 4
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    width = max(1, round(picture.width * aspect)) if 0.1 < aspect < 10 else picture.width
    height = picture.height
    if quarter_turns % 2:
        width, height = height, width

    def drawn(wide: int, high: int) -> Picture:
        if quarter_turns % 2:
            wide, high = high, wide
        return np.ascontiguousarray(np.rot90(_scaled(picture, wide, high), quarter_turns))

    return Frame(time, length, width, height, round(picture.rotation), drawn)


def _scaled(picture: Any, width: int, height: int) -> Picture:
    shrinks = width < picture.width or height < picture.height
    how = {"width": width, "height": height, "interpolation": "AREA" if shrinks else "BICUBIC"}
    if any(part.is_alpha for part in picture.format.components):
        return _on_white(picture.reformat(format="rgba", **how).to_ndarray())
    transfer = _HDR.get(int(picture.color_trc or 0))
    if transfer is not None:
        return _for_a_plain_screen(picture.reformat(format="rgb48le", **how).to_ndarray(), transfer)
    return picture.reformat(format="rgb24", **how).to_ndarray()


def _on_white(rgba: UInt8[np.ndarray, "height width 4"]) -> Picture:
    alpha = rgba[..., 3:].astype(np.uint16)
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


_TO_709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32
)
"""From the primaries of BT.2020 to those of BT.709 (ITU-R BT.2087)."""
_WHITE, _PEAK = 203.0, 1000.0
"""Nits of a white page in HDR (ITU-R BT.2408), and of what becomes the brightest white here."""


def _for_a_plain_screen(coded: UInt16[np.ndarray, "height width 3"], transfer: str) -> Picture:
    """HDR brought into the range of a plain screen: highlights roll off, the rest stays in place."""
    signal = coded.astype(np.float32) / 65535
    nits = _nits_of_pq(signal) if transfer == "PQ" else _nits_of_hlg(signal)
    light = np.maximum(nits @ _TO_709.T, 0) / _WHITE
    brightest = light.max(axis=-1, keepdims=True)
    # Extended Reinhard on the largest channel keeps hues; the peak becomes 1.
    rolled = brightest * (1 + brightest / (_PEAK / _WHITE) ** 2) / (1 + brightest)
    light = np.clip(light * rolled / np.maximum(brightest, 1e-6), 0, 1)
    screen = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return (screen * 255 + 0.5).astype(np.uint8)


def _nits_of_pq(signal: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """SMPTE ST 2084."""
    root = signal ** (1 / 78.84375)
    return 10_000 * (np.maximum(root - 0.8359375, 0) / (18.8515625 - 18.6875 * root)) ** (
        1 / 0.1593017578125
    )


def _nits_of_hlg(signal: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w 3"]:
    """ITU-R BT.2100, for a screen of 1000 nits."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    brightness = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    return 1000 * scene * np.maximum(brightness, 1e-6)[..., None] ** 0.2


# --- pictures -------------------------------------------------------------------------------------


def _animated(file: BinaryIO, media: Media, limits: Limits) -> Opened:
    """A still, an animation of GIF, WebP, PNG or AVIF, or a tall strip of frames."""
    file.seek(0)
    picture = Image.open(file, formats=PICTURE_FORMATS)
    area = picture.width * picture.height // max(1, media.strip)
    _check(media, area, limits.frame_pixels, "pixels a frame", "shrink it")
    if media.strip:
        frames, rate = _strip(picture, media), media.fps or FRAMES_RATE
    else:
        count = int(getattr(picture, "n_frames", 1))
        _check(media, count, limits.frames, "frames", "cut it into clips")
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
    """Of the shortest time that a frame is shown: nothing that moves is lost."""
    if count == 1:
        return FRAMES_RATE
    shortest = min(_shown_for(picture, index) for index in range(count))
    return Fraction(1000, max(10, round(shortest)))


def _shown_for(picture: Image.Image, index: int) -> float:
    picture.seek(index)
    picture.load()  # WebP tells a frame's time only with its pixels
    return float(picture.info.get("duration", 0)) or 100.0


def _played(
    picture: Image.Image, count: int, rate: Fraction, media: Media, limits: Limits
) -> Iterator[Frame]:
    time = 0.0
    for index in range(count):
        length = _shown_for(picture, index) / 1000 if count > 1 else 1 / float(rate)
        _check(media, time, limits.seconds, "seconds", "cut it into clips")
        yield _drawn(picture.copy(), time, length)
        time += length


def _drawn(picture: Image.Image, time: float, length: float) -> Frame:
    rgba = np.asarray(picture.convert("RGBA"))
    rgb = Image.fromarray(_on_white(rgba))

    def drawn(width: int, height: int) -> Picture:
        if (width, height) == rgb.size:
            return np.asarray(rgb)
        return np.asarray(rgb.resize((width, height), Image.Resampling.LANCZOS))

    return Frame(time, length, rgb.width, rgb.height, 0, drawn)


def _numbered(media: Media, limits: Limits) -> Opened:
    """A folder of pictures, one after another."""
    rate = media.fps or FRAMES_RATE
    _check(media, len(media.pictures), limits.frames, "frames", "cut it into clips")

    def frames() -> Iterator[Frame]:
        for index, path in enumerate(media.pictures):
            with path.open("rb") as file, Image.open(file, formats=PICTURE_FORMATS) as picture:
                area = picture.width * picture.height
                _check(media, area, limits.frame_pixels, "pixels a frame", "shrink it")
                yield _drawn(picture, float(index / rate), float(1 / rate))

    return Opened("pictures", rate, None, frames())


def _short(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:120].rstrip(".")
