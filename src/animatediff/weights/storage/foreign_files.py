"""Recognise files without weights by their first bytes, to name them in errors."""

from __future__ import annotations

import io
import pickletools
import struct
from collections.abc import Mapping
from dataclasses import dataclass

START = 512
"""First bytes to look at."""

_TEXT_OPCODES = tuple(bytes([code]) for code in b"(]}c)INSVFLlpdg")
"""Possible first bytes of a pickle of protocol 0 or 1."""
_UNPACK = "unpack it, and give the file inside"
_DOWNLOAD = "download the file itself"
_SAFETENSORS = "give a .safetensors file"


@dataclass(frozen=True)
class Foreign:
    """A file that holds no weights that can be read.

    Attributes:
        title: what it is, with an article.
        advice: what to do.
    """

    title: str
    advice: str = _SAFETENSORS


_MAGIC: tuple[tuple[int, bytes, Foreign], ...] = (
    (0, b"\x89PNG\r\n", Foreign("a PNG picture")),
    (0, b"\xff\xd8\xff", Foreign("a JPEG picture")),
    (0, b"GIF8", Foreign("a GIF picture")),
    (8, b"WEBP", Foreign("a WebP picture")),
    (8, b"AVI ", Foreign("an AVI video")),
    (8, b"WAVE", Foreign("a sound file (WAV)")),
    (0, b"BM", Foreign("a BMP picture")),
    (0, b"II*\x00", Foreign("a TIFF picture")),
    (0, b"MM\x00*", Foreign("a TIFF picture")),
    (4, b"ftyp", Foreign("a video or picture (MP4, MOV, HEIC or AVIF)")),
    (0, b"\x1aE\xdf\xa3", Foreign("a WebM or Matroska video")),
    (0, b"OggS", Foreign("an Ogg file")),
    (0, b"ID3", Foreign("a sound file (MP3)")),
    (0, b"\x1f\x8b", Foreign("a gzip archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Foreign("a 7-Zip archive", _UNPACK)),
    (0, b"Rar!\x1a", Foreign("a RAR archive", _UNPACK)),
    (0, b"BZh", Foreign("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ", Foreign("an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Foreign("a Zstandard archive", _UNPACK)),
    (0, b"GGUF", Foreign("a GGUF file (quantised weights)")),
    (0, b"\x89HDF", Foreign("an HDF5 file (Keras weights)")),
    (0, b"\x93NUMPY", Foreign("a NumPy array")),
    (0, b"%PDF", Foreign("a PDF")),
    (0, b"SQLite format 3", Foreign("an SQLite database")),
    (0, b"\x7fELF", Foreign("a program")),
)
_TORCH_MEMBERS = ("/data.pkl", "/version", "/byteorder", "/.format_version", "/.storage_alignment")


def foreign_file(start: bytes) -> Foreign | None:
    """Return what a file is by its first bytes; ``None`` if it may be safetensors or a pickle.

    Args:
        start: its first ``START`` bytes, or the whole file if it is shorter.
    """
    if not start:
        return Foreign("empty", "get the file again")
    if start[8:9] == b"{" and start[3:8] == bytes(5):
        return None  # The length of a safetensors header may begin as any other file.
    for place, magic, foreign in _MAGIC:
        if start[place : place + len(magic)] != magic:
            continue
        if place == 8 and not start.startswith(b"RIFF"):
            continue
        return foreign
    if start.startswith(b"PK\x03\x04"):
        return None if _is_of_torch(start) else Foreign("a zip archive", _UNPACK)
    if starts_as_pickle(start):
        return None
    return _text(start)


def starts_as_pickle(start: bytes) -> bool:
    """Return whether a file starts like a pickle, including torch's zip and tar files.

    Args:
        start: its first ``START`` bytes, or the whole file if it is shorter.
    """
    if start.startswith(b"PK\x03\x04") or start[257:262] == b"ustar":
        return True
    if start[:1] == b"\x80":  # then the protocol
        # A header of 640 bytes starts the same way, but no pickle continues with five zeros.
        return start[1:2] <= b"\x05" and start[3:8] != bytes(5)
    # The oldest protocols are text; as the length of a header, text is absurdly large.
    return (
        len(start) >= 2
        and start[8:9] != b"{"
        and start[:1] in _TEXT_OPCODES
        and start[:8].isascii()
        and _is_of_opcodes(start)
    )


def _is_of_opcodes(start: bytes) -> bool:
    """Return whether bytes are instructions of a pickle up to their end; none is followed."""
    count = 0
    whole = len(start) < START
    try:
        for opcode, _, _ in pickletools.genops(io.BytesIO(start)):
            count += 1
            if opcode.name == "STOP":
                return True
    except ValueError as error:
        # The last instruction may be cut off; an unknown one, or one with a wrong argument, is text.
        cut = any(
            word in str(error) for word in ("exhausted", "not enough", "no newline", "expected")
        )
        return cut and not whole and count > 1
    return True


def _is_of_torch(start: bytes) -> bool:
    """Return whether the first member of a zip file is one that torch writes."""
    if len(start) < 30:
        return True
    (length,) = struct.unpack("<H", start[26:28])
    name = start[30 : 30 + length].decode("utf-8", "replace")
    return name.endswith(_TORCH_MEMBERS) or "/data/" in name or "/code/" in name


def _text(start: bytes) -> Foreign | None:
    """Return which kind of text a file is, if it is text."""
    encodings: Mapping[bytes, str] = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
    encoding = encodings.get(start[:2], "utf-8")
    try:
        text = start.decode(encoding)
    except UnicodeDecodeError as error:
        if len(start) < START or error.start < len(start) - 4:
            return _latin(start)
        text = start[: error.start].decode(encoding)
    if any(ord(c) < 32 and c not in "\t\n\r\f\x1b" for c in text):
        return None
    words = text.lstrip("\ufeff \t\r\n").lower()
    if words.startswith("version https://git-lfs"):
        return Foreign("only a Git LFS pointer", "run git lfs pull")
    if words.startswith(("<!doctype html", "<html", "<head", "<body")):
        return Foreign("a web page", _DOWNLOAD)
    if words.startswith(("<?xml", "<")):
        return Foreign("an XML file", _DOWNLOAD)
    if words.startswith(("{", "[")):
        return Foreign("a JSON file")
    return Foreign("a text file") if words else Foreign("a file of blanks")


def _latin(start: bytes) -> Foreign | None:
    """Return a text file in an older encoding, which has neither zeros nor control characters."""
    plain = all(byte >= 32 or byte in b"\t\n\r\f" for byte in start)
    letters = sum(byte < 127 for byte in start)
    return Foreign("a text file") if plain and letters > 0.8 * len(start) else None
