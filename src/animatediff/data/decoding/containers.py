"""Check by its bytes that a clip's file is of a known format, and complete."""

from __future__ import annotations

import io
import os
from typing import BinaryIO

from animatediff.data.decoding.media import Media
from animatediff.errors import FileError
from animatediff.video.content import HEAD, kind_of
from animatediff.video.pictures import unsupported_picture

_ELSEWHERE = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<SMIL", b"<MPD", b"[playlist]")


def container_of(file: BinaryIO, media: Media) -> str:
    """Return the demuxer for a file, by its first bytes.

    Raises:
        FileError: it is empty, cut short, or not supported.
    """
    head = file.read(HEAD)
    if not head:
        raise FileError(f"{media.path} is empty; get it again.")
    container = kind_of(head)
    if container == "mov":
        _check_boxes(file, media)
    elif container == "avi":
        _check_extent(file, media, 8 + int.from_bytes(head[4:8], "little"))
    if container is not None:
        return container
    if known := unsupported_picture(head):
        raise FileError(f"{media.path} is {known}.")
    if b"<svg" in head:
        raise FileError(
            f"{media.path} is a drawing (SVG), which is not supported; save it as PNG or JPEG."
        )
    if head.lstrip().startswith(_ELSEWHERE):
        raise FileError(f"{media.path} only refers to other files; use those instead.")
    raise FileError(f"{media.path} is not a readable video or picture.")


def _check_boxes(file: BinaryIO, media: Media) -> None:
    """Check that an MP4 or MOV, a row of boxes with lengths, is complete and has an index."""
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
    """Open a file, or a member of an archive."""
    if media.length is None:
        return whole
    whole.seek(media.offset)
    content = whole.read(media.length)
    if len(content) < media.length:
        raise FileError(f"{media.path} is cut short: its last member is not whole; get it again.")
    return io.BytesIO(content)
