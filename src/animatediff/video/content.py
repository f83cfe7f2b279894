"""Recognise the format of a video or picture by its first bytes, whatever its name."""

from __future__ import annotations

from animatediff.video.pictures import unsupported_picture

_MAGIC = (
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "asf"),
    (0, b"OggS", "ogg"),
    (0, b"\x00\x00\x01\xba", "mpeg"),
    (0, b"\x00\x00\x01\xb3", "mpegvideo"),
    (0, b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02", "mxf"),
    (0, b"YUV4MPEG2 ", "yuv4mpegpipe"),
    (8, b"AVI ", "avi"),
    (8, b"WEBP", "picture"),
    (0, b"GIF8", "picture"),
    (0, b"\x89PNG\r\n\x1a\n", "picture"),
    (0, b"\xff\xd8\xff", "picture"),
    (0, b"II*\0", "picture"),
    (0, b"MM\0*", "picture"),
    (0, b"II+\0", "picture"),
    (0, b"MM\0+", "picture"),
)
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
"""Possible names of the first box of an MP4 or MOV."""
_LARGEST_FIRST_BOX = 1 << 24
"""Bytes before the pictures that decide; more could match text."""
_AVIF = (b"avif", b"avis", b"mif1", b"msf1")
_SOUND = (b"M4A ", b"M4B ", b"M4P ")
_BITMAP_HEADS = (12, 40, 52, 56, 64, 108, 124)
_TRANSPORT = ((188, 0), (192, 4))
"""Packet length and sync position of MPEG-TS: plain, and as in cameras and on discs."""
HEAD = 1024
"""Bytes of a file that are examined."""


def kind_of(head: bytes) -> str | None:
    """Return the demuxer for a file, or ``picture``; ``None`` if it is neither video nor picture.

    Args:
        head: its first ``HEAD`` bytes.
    """
    if unsupported_picture(head):
        return None
    for place, magic, container in _MAGIC:
        if head[place : place + len(magic)] == magic:
            return container
    if head[4:8] == b"ftyp" and head[8:12] in _AVIF:
        return "picture"
    first = int.from_bytes(head[:4], "big")
    if head[4:8] == b"mdat" or (head[4:8] in _BOXES and first < _LARGEST_FIRST_BOX):
        return None if head[8:12] in _SOUND and head[4:8] == b"ftyp" else "mov"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADS:
        return "picture"
    for length, place in _TRANSPORT:
        marks = head[place::length]
        if len(marks) > 1 and set(marks) == {0x47}:
            return "mpegts"
    return None
