"""The list of a dataset's clips, and of wrong rows, before any clip is opened."""

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
    """One clip of a dataset, before it is opened.

    Attributes:
        key: its name, unique in the dataset.
        media: the place of its pictures.
        caption: ``None`` if there is none.
        start: seconds from the file's beginning.
        end: seconds from the file's beginning; ``None`` for its end.
        repeats: how often it is used, relative to the others.
        origin: the file and line that listed it.
        facts: other metadata.
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
        """The caption, or else the file's name as words."""
        if self.caption is not None:
            return self.caption
        return " ".join(re.split(r"[\W_]+", PurePosixPath(self.key).name)).strip()


@dataclass(frozen=True)
class BrokenRow:
    """A wrong row, with one sentence that says where and why."""

    key: str
    reason: str


@dataclass(frozen=True)
class Listing:
    """The clips of a dataset.

    Attributes:
        path: the path that was listed.
        layout: its layout.
        entries: the clips, in the order of the dataset.
        broken: wrong rows.
        notes: settings that were found but are not used.
    """

    path: Path
    layout: Layout
    entries: tuple[ClipEntry, ...]
    broken: tuple[BrokenRow, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def fingerprint(self) -> str:
        """Return a hash of the clips and their captions, but not of their place."""
        lines = (
            json.dumps([e.key, e.text, e.start, e.end, e.repeats, bytes_of(e.media)])
            for e in self.entries
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def bytes_of(media: Media) -> int:
    """Return the size of a clip's files."""
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
        """Return an entry, or the sentence of the error that making it raises."""
        try:
            self.entries.append(make())
        except FileError as error:
            self.broken.append(BrokenRow(key, str(error)))
        except (OSError, ValueError) as error:
            # For example a name with a null character, or one that is too long.
            self.broken.append(BrokenRow(key, f"{key} cannot be read ({error})."))


def flat(caption: object) -> str | None:
    """Return a caption on one line."""
    return " ".join(str(caption).split()) if caption is not None else None


def json_object(content: bytes, *, where: str) -> dict[str, Any]:
    """Parse a JSON object.

    Raises:
        FileError: it is something else; ``where`` says where.
    """
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise FileError(f"{where} is not JSON.") from None
    if not isinstance(value, dict):
        raise FileError(f"{where} is not a JSON object.")
    return value
