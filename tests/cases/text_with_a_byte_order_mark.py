"""Text as Windows' Notepad saves it: UTF-8 that begins with the invisible character U+FEFF."""

from __future__ import annotations

from pathlib import Path


def write(path: Path, text: str) -> Path:
    """The text, with Windows' ends of lines and a byte order mark."""
    path.write_bytes(text.replace("\n", "\r\n").encode("utf-8-sig"))
    return path
