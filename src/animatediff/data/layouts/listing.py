"""What a data set is before anything of it is opened: a list of clips, and of rows that are none."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from animatediff.data.decoding.media import Media
from animatediff.errors import FileError

Layout = Literal["folder", "frames", "metadata", "webvid", "jsonl", "toml", "lists", "webdataset"]

CAPTION_COLUMNS = ("text", "caption", "prompt")
CAPTION_SUFFIXES = (".txt", ".caption")
MAX_CAPTION_BYTES = 64 << 10


@dataclass(frozen=True)
class ClipEntry:
    """One clip of a data set, before it is opened.

    Attributes:
        key: its name, unique in the data set.
        media: where its pictures are.
        caption: what is said of it; ``None`` if nothing is.
        start: seconds from the file's beginning.
        end: seconds from the file's beginning; ``None`` is its end.
        repeats: how often it is learned from, against once for the others.
        origin: the file, and the line in it, that told of this clip.
        facts: whatever else is said of it.
    """

    key: str
    media: Media
    caption: str | None
    start: float = 0.0
    end: float | None = None
    repeats: int = 1
    origin: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def text(self) -> str:
        """The caption; without one, the file's name as words."""
        if self.caption is not None:
            return self.caption
        return " ".join(re.split(r"[\W_]+", PurePosixPath(self.key).name)).strip()


@dataclass(frozen=True)
class BrokenRow:
    """What should have been a clip, and why it is none: one sentence that says where."""

    key: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The clips of a data set.

    Attributes:
        path: what was asked for.
        layout: how it is kept.
        entries: the clips, in the order of the data set.
        broken: rows that are wrong.
        notes: what was said and is not followed.
    """

    path: Path
    layout: Layout
    entries: tuple[ClipEntry, ...]
    broken: tuple[BrokenRow, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def fingerprint(self) -> str:
        """A hash of which clips there are and what is said of them, but not of where they are."""
        lines = (
            json.dumps([e.key, e.text, e.start, e.end, e.repeats, bytes_of(e.media)])
            for e in self.entries
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def bytes_of(media: Media) -> int:
    """How large the files of a clip are."""
    if media.length is not None:
        return media.length
    paths = media.pictures or (media.path,)
    return sum(path.stat().st_size for path in paths if path.exists())


class Rows:
    """What a reader has found so far."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[ClipEntry] = []
        self.broken: list[BrokenRow] = []
        self.notes: list[str] = []

    def add(self, key: str, make: Callable[[], ClipEntry]) -> None:
        """An entry, or the sentence of the error that making it raises."""
        try:
            self.entries.append(make())
        except FileError as error:
            self.broken.append(BrokenRow(key, str(error)))
        except (OSError, ValueError) as error:
            # Such as a name with a null character, or one that is too long.
            self.broken.append(BrokenRow(key, f"{key} cannot be read ({error})."))


def flat(caption: object) -> str | None:
    """A caption on one line."""
    return " ".join(str(caption).split()) if caption is not None else None


def json_object(content: bytes, *, where: str) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        FileError: it is something else; ``where`` says where.
    """
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise FileError(f"{where} is not JSON.") from None
    if not isinstance(value, dict):
        raise FileError(f"{where} is not an object of JSON.")
    return value
