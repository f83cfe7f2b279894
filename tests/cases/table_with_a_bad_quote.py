"""A metadata.csv as people write it by hand: unescaped quotation marks, and one line in Latin-1."""

from __future__ import annotations

from pathlib import Path

BAD = {
    3: "quotation mark in the wrong place",
    5: "quotation mark in the wrong place",
    7: "not UTF-8",
    9: "quotation mark in the wrong place",
}
"""What is wrong with which line."""


def write(path: Path) -> Path:
    """Eight rows for fox.mp4 and owl.mp4, four of them wrong."""
    path.write_bytes(
        b"file_name,text\n"
        b'fox.mp4,"a ""red"" fox"\n'
        b'fox.mp4,"a "red" fox"\n'
        b"owl.mp4,an owl\n"
        b'fox.mp4,"never closed\n'
        b'owl.mp4,"an owl, again"\n'
        b"fox.mp4,caf\xe9\n"
        b"owl.mp4,the last good one\n"
        b'owl.mp4,"to the end\n'
    )
    return path
