"""Write a PNG with 16 bits a channel, which Pillow cannot.

PNG specification, third edition: an image header, text, compressed lines, an end; each chunk with a
checksum. Frames have 8 bits a channel here, so every value is repeated in both bytes: 255 becomes
65535.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TRUE_COLOUR, _SIXTEEN_BITS, _UP = 2, 16, 2
_MOST_NAME = 79


def write_deep_picture(
    path: Path, frame: UInt8[np.ndarray, "height width 3"], facts: Mapping[str, str]
) -> None:
    """Write one frame, with texts.

    Args:
        path: the file.
        frame: sRGB bytes.
        facts: texts by name.
    """
    height, width, _ = frame.shape
    lines = np.repeat(frame.reshape(height, -1), 2, axis=1)
    # Each line as its difference from the one above, which compresses better.
    above = np.vstack([np.zeros_like(lines[:1]), lines[:-1]])
    filtered = np.empty((height, lines.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[:, 1:] = lines - above
    header = struct.pack(">IIBBBBB", width, height, _SIXTEEN_BITS, _TRUE_COLOUR, 0, 0, 0)
    with path.open("wb") as file:
        file.write(_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"sRGB", b"\0"))
        for name, text in facts.items():
            key = name[:_MOST_NAME].encode("latin-1", "replace")
            body = key + b"\0\0\0\0\0" + text.encode("utf-8", "replace")
            file.write(_chunk(b"iTXt", body))
        file.write(_chunk(b"IDAT", zlib.compress(filtered.tobytes(), 6)) + _chunk(b"IEND", b""))


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
