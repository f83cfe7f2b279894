"""Metadata in video files, treated as untrusted data of limited size.

Entries that are not text, too long or malformed are left out, so that a foreign file costs no more
than its pictures. One more entry gives the number of omitted entries.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

Facts = dict[str, str]

MAX_FACTS = 1000
MAX_LETTERS = 8 << 20
"""Limit for all texts of a file together; a request has at most one million."""
MAX_BYTES = 4 * MAX_LETTERS
_MOST_PIXELS = 1 << 26
"""Limit for a picture that is decompressed to reach the texts behind it."""
LEFT_OUT = "left out"
"""Name of the entry that counts the omitted entries."""
EXIF_IFD, USER_COMMENT = 0x8769, 0x9286
UNICODE, ASCII, UNDEFINED = b"UNICODE\0", b"ASCII\0\0\0", bytes(8)
"""The first eight bytes of a user comment, which name its encoding."""


def facts_of(table: object) -> Facts:
    """Return the texts and numbers of a table with lower-case names, and nothing else."""
    if not isinstance(table, Mapping):
        return {}
    facts: Facts = {}
    left, surplus = MAX_LETTERS, 0
    for key, value in table.items():
        if not isinstance(value, str | int | float) or not isinstance(key, str | int):
            continue
        name, text = str(key).lower(), str(value)
        if name == LEFT_OUT:
            continue
        if len(facts) == MAX_FACTS or len(name) + len(text) > left:
            surplus += 1
            continue
        facts[name] = text
        left -= len(name) + len(text)
    return {**facts, LEFT_OUT: str(surplus)} if surplus else facts


def folder_facts(path: Path) -> Facts:
    """Read the JSON file of a folder of frames.

    Raises:
        OSError, ValueError: it cannot be read, is too large, or is not JSON.
    """
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path.name} has more than {MAX_BYTES} bytes")
    return facts_of(_json(path.read_text(encoding="utf-8-sig")))


def picture_facts(picture: Image.Image) -> Facts:
    """Read the text of a picture from where its format stores it."""
    if picture.format == "PNG":
        if picture.width * picture.height > _MOST_PIXELS:
            return facts_of({k: v for k, v in picture.info.items() if isinstance(v, str)})
        # In an APNG, the text may follow the picture data of the first frame.
        return facts_of(getattr(picture, "text", {}))
    if picture.format == "GIF":
        comment = picture.info.get("comment", b"")
        return _remark(
            comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
        )
    comment = _user_comment(picture)
    return _remark(_commented(comment)) if isinstance(comment, bytes) else {}


def _user_comment(picture: Image.Image) -> Any:
    try:
        return picture.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT, b"")
    except Exception:  # noqa: BLE001 - a table that a stranger made up may offend its reader anyhow
        return b""


def _commented(comment: bytes) -> str:
    """The text of a user comment; empty if its encoding is not known."""
    encoding, text = comment[:8], comment[8:]
    if encoding in (ASCII, UNDEFINED):
        return text.decode("utf-8", "replace")
    if encoding != UNICODE:
        return ""
    # Exif does not say the order of the bytes, and programs differ. Latin letters have a zero byte.
    little = text[1::2].count(0) > text[::2].count(0)
    return text.decode("utf-16-le" if little else "utf-16-be", "replace")


def _remark(text: str) -> Facts:
    """Parse a comment: our JSON, or somebody else's text."""
    try:
        table = _json(text)
    except ValueError:
        table = None
    return facts_of(table if isinstance(table, dict) else {"comment": text} if text else {})


def _json(text: str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is not JSON, or is nested too deeply.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
