"""Pictures that are not 8-bit RGB in sRGB: 16 bits, inks, palettes, transparency, wide gamut."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

SRGB = ((0.4360747, 0.2225045, 0.0139322), (0.3850649, 0.7168786, 0.0971045))
SRGB = (*SRGB, (0.1430804, 0.0606169, 0.7141733))
DISPLAY_P3 = ((0.515102, 0.241182, -0.001050), (0.291965, 0.692236, 0.041882))
DISPLAY_P3 = (*DISPLAY_P3, (0.157153, 0.066580, 0.784378))
EXCHANGED = (SRGB[2], SRGB[1], SRGB[0])
"""The colours of red, green and blue in XYZ under D50; in the last, red and blue are exchanged."""


def profile(primaries: tuple[tuple[float, float, float], ...], *, gamma: float = 2.2) -> bytes:
    """A small ICC profile (version 2) of a display with these primaries."""

    def number(value: float) -> bytes:
        return struct.pack(">i", round(value * 65536))

    def xyz(values: tuple[float, float, float]) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(number, values))

    text = b"made for a test\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + b"\0" * 79,
        b"cprt": b"text\0\0\0\0" + text,
        b"wtpt": xyz((0.9642, 1.0, 0.8249)),
        **dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), map(xyz, primaries), strict=True)),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve),
    }
    table, body = struct.pack(">I", len(tags)), b""
    offset = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(
        ">I4sI4s4s4s", offset + len(body), b"lcms", 0x02100000, b"mntr", b"RGB ", b"XYZ "
    )
    header += struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28
    header += b"".join(map(number, (0.9642, 1.0, 0.8249)))
    return header.ljust(128, b"\0") + table + body


def write_wide(path: Path, pixels: np.ndarray, icc: bytes) -> Path:
    """RGB or grey pixels with a profile of their colours."""
    Image.fromarray(pixels).save(path, icc_profile=icc)
    return path


def write_deep(path: Path) -> Path:
    """A grey ramp of 16 bits, from black to white over 256 columns."""
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)
    Image.fromarray(np.tile(ramp, (16, 1))).save(path)
    return path


def write_inks(path: Path) -> Path:
    """CMYK: the left half full cyan, the right half no ink."""
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255
    Image.fromarray(inks, "CMYK").save(path, quality=100)
    return path


def write_palette(path: Path) -> Path:
    """Two palette colours, of which the right one is transparent."""
    picture = Image.new("P", (32, 16), 0)
    picture.putpalette([10, 200, 30, 250, 0, 0])
    picture.paste(1, (16, 0, 32, 16))
    picture.save(path, transparency=1)
    return path


def write_clear_grey(path: Path) -> Path:
    """Black, opaque on the left and half transparent on the right."""
    pixels = np.zeros((16, 32, 2), np.uint8)
    pixels[:, :16, 1], pixels[:, 16:, 1] = 255, 128
    Image.fromarray(pixels, "LA").save(path)
    return path
