"""List the clips of a dataset in any layout.

Listing opens no video. A layout that cannot be read is an error. A single wrong row is recorded
with one sentence that names its line, and the rest is listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from animatediff.data.layouts.archives import read_webdataset
from animatediff.data.layouts.folders import FRAME_FACTS, read_folder, read_frames
from animatediff.data.layouts.listing import ClipEntry, Layout, Listing, Rows
from animatediff.data.layouts.media_files import kind_by_name, media_kind
from animatediff.data.layouts.tables import (
    csv_columns,
    lists_in,
    read_jsonl,
    read_lists,
    read_metadata,
    read_webvid,
)
from animatediff.data.layouts.trainer_settings import read_toml
from animatediff.errors import FileError, InputError, reason_of

OURS = frozenset({"quarantine.jsonl", "surveys.jsonl", "metrics.jsonl"})
"""Files that our own commands leave in a folder; they list no clips."""


def list_clips(data: Path, *, layout: Layout | None = None, videos: Path | None = None) -> Listing:
    """List every clip of a folder, table, archive or single file.

    Args:
        data: a folder in any layout, or the table or archive itself.
        layout: its layout, if it cannot be detected.
        videos: the folder that a table's names are relative to; ``None`` for the table's own.

    Raises:
        InputError: there is nothing there, no clip in it, or two layouts at once.
        FileError: a table cannot be read at all.
    """
    if not data.exists():
        raise InputError(f"There is no {data}; give a folder of clips, or a table of them.")
    try:
        layout, source = (layout, _source_for(layout, data)) if layout else layout_of(data)
        rows = Rows(videos or (source if source.is_dir() else source.parent))
        _READERS[layout](source, rows)
    except FileError:
        raise
    except OSError as error:
        raise FileError(f"{error.filename or data} cannot be read ({reason_of(error)}).") from None
    entries = tuple(_with_unique_keys(rows.entries))
    if not entries and not rows.broken:
        raise InputError(f"{data} contains no clips; see `animatediff dataset check --help`.")
    return Listing(data, layout, entries, tuple(rows.broken), tuple(dict.fromkeys(rows.notes)))


def layout_of(data: Path) -> tuple[Layout, Path]:
    """Detect the layout of a dataset, and the file or folder that lists its clips.

    Raises:
        InputError: the layout cannot be detected, or is ambiguous.
        FileError: a table has the columns of no layout.
    """
    if data.is_file():
        return _layout_of_file(data)
    found = [
        _layout_of_file(path)
        for path in sorted(data.iterdir())
        if path.suffix.lower() in _TABLES and path.name not in OURS and path.is_file()
    ]
    if lists_in(data):
        found.append(("lists", data))
    if next(data.rglob("*.tar"), None) is not None:
        found.append(("webdataset", data))
        if loose := next((p for p in data.rglob("*") if kind_by_name(p) == "video"), None):
            found.append(("folder", loose))
    if len(found) > 1:
        names = " and ".join(
            "*.tar" if kind == "webdataset" else path.name for kind, path in found[:2]
        )
        raise InputError(
            f"{data} contains both {names}; pass the one that lists the clips instead of the "
            "folder."
        )
    if found:
        return found[0]
    if (data / FRAME_FACTS).is_file():
        return "frames", data
    return "folder", data


_TABLES = (".csv", ".jsonl", ".parquet", ".toml")


def _layout_of_file(path: Path) -> tuple[Layout, Path]:
    match path.suffix.lower():
        case ".tar":
            return "webdataset", path
        case ".toml":
            return "toml", path
        case ".parquet":
            return "metadata", path
        case ".jsonl":
            return ("metadata" if path.stem == "metadata" else "jsonl"), path
        case ".csv":
            columns = csv_columns(path)
            if {"videoid", "name"} <= columns:
                return "webvid", path
            if "file_name" in columns:
                return "metadata", path
            raise FileError(f"{path} line 1 needs the column file_name, or videoid and name.")
        case _:
            if media_kind(path):
                return "folder", path
            known = ", ".join((*_TABLES, ".tar"))
            raise InputError(f"{path} is neither a list of clips ({known}) nor a clip.")


def _source_for(layout: Layout, data: Path) -> Path:
    """Return the table of a layout that was requested by name."""
    if data.is_file() or layout in ("folder", "frames", "lists", "webdataset"):
        return data
    suffixes = {
        "metadata": (".csv", ".jsonl", ".parquet"),
        "webvid": (".csv",),
        "jsonl": (".jsonl",),
        "toml": (".toml",),
    }[layout]
    tables = [p for p in sorted(data.iterdir()) if p.suffix.lower() in suffixes]
    tables = [p for p in tables if p.name not in OURS]
    if len(tables) != 1:
        raise InputError(
            f"{data} holds {len(tables)} tables that may be {layout}; give the table itself."
        )
    return tables[0]


_READERS: Mapping[Layout, Callable[[Path, Rows], None]] = {
    "folder": read_folder,
    "frames": read_frames,
    "metadata": read_metadata,
    "webvid": read_webvid,
    "jsonl": read_jsonl,
    "toml": read_toml,
    "lists": read_lists,
    "webdataset": read_webdataset,
}
LAYOUTS: tuple[Layout, ...] = tuple(_READERS)


def _with_unique_keys(entries: Iterable[ClipEntry]) -> Iterator[ClipEntry]:
    """Number clips with the same name, such as several parts of one video."""
    seen: dict[str, int] = {}
    for entry in entries:
        seen[entry.key] = number = seen.get(entry.key, 0) + 1
        yield entry if number == 1 else replace(entry, key=f"{entry.key}#{number}")
