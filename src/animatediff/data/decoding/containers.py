"""What kind of file a clip is in, told by its bytes; and whether it is all there."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from animatediff.data.decoding.media import Media
from animatediff.errors import FileError

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


def container_of(file: BinaryIO, media: Media) -> str:
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


def member_of(whole: BinaryIO, media: Media) -> BinaryIO:
    """A file as it is, or the member of an archive that is wanted."""
    if media.length is None:
        return whole
    whole.seek(media.offset)
    content = whole.read(media.length)
    if len(content) < media.length:
        raise FileError(f"{media.path} is cut short: its last member is not whole; get it again.")
    return io.BytesIO(content)
