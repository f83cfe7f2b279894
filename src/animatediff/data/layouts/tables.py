"""Datasets as tables: a row for each clip, in CSV, JSON lines, Parquet or two lists of lines."""

from __future__ import annotations

import csv
import importlib
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from animatediff.data.decoding.media import Media
from animatediff.data.layouts.folders import frames_entry
from animatediff.data.layouts.listing import (
    CAPTION_COLUMNS,
    BrokenRow,
    ClipEntry,
    Rows,
    flat,
    json_object,
)
from animatediff.errors import FileError, InputError, reason_of

_READ = frozenset(("file_name", "videoid", "name", "page_dir", "start", "end", *CAPTION_COLUMNS))
"""Columns that mean something."""


def read_metadata(source: Path, rows: Rows) -> None:
    """Read ``file_name`` and ``text``, as in Hugging Face's VideoFolder: CSV, JSON lines, Parquet."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    for where, row in readers[source.suffix.lower()](source, rows):
        rows.add(where, partial(_row_entry, row, "file_name", rows.root, where=where))


def read_jsonl(source: Path, rows: Rows) -> None:
    """Read ``video_path`` (or ``image_path``) and ``caption``, as in musubi-tuner."""
    for where, row in _jsonl_rows(source, rows):
        column = next((c for c in ("video_path", "image_path") if c in row), "file_name")
        rows.add(where, partial(_row_entry, row, column, rows.root, where=where, confined=False))


def read_webvid(source: Path, rows: Rows) -> None:
    """Read ``videoid,name,page_dir``, as in WebVid and the authors' trainer."""
    folders = (rows.root, rows.root / "videos", rows.root / source.stem)
    for where, row in _csv_rows(source, rows):
        rows.add(where, partial(_webvid_entry, row, folders, where=where))


def _webvid_entry(row: Mapping[str, Any], folders: Iterable[Path], *, where: str) -> ClipEntry:
    name, page = str(row.get("videoid") or ""), str(row.get("page_dir") or "")
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise FileError(f"{where} has the videoid {name!r:.60}, which is not a file name.")
    places = [f"{name}.mp4"]
    if page and ".." not in PurePosixPath(page).parts and not page.startswith("/"):
        places.append(f"{page}/{name}.mp4")
    path = next((f / p for f in folders for p in places if (f / p).is_file()), None)
    if path is None:
        raise FileError(f"{where} names {name}, but {places[0]} does not exist.")
    caption = row.get("name")
    facts = {k: v for k, v in row.items() if k not in ("videoid", "name") and v}
    return ClipEntry(name, Media(path), flat(caption), origin=where, facts=facts)


def _row_entry(
    row: Mapping[str, Any], column: str, root: Path, *, where: str, confined: bool = True
) -> ClipEntry:
    """Return the entry of a row that names a file.

    If ``confined``, the file must be inside ``root``, as in datasets that are passed around.
    People's own lists may point anywhere.
    """
    name = row.get(column)
    if not isinstance(name, str) or not name.strip():
        raise FileError(f"{where} has no {column}.")
    path = root / name.strip()
    if confined and not path.resolve().is_relative_to(root.resolve()):
        raise FileError(f"{where} names {name!r:.80}, which is outside {root}.")
    if not path.exists():
        raise FileError(f"{where} names {name!r:.80}, which is not there.")
    start, end = (_seconds(row.get(word), word, where=where) for word in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise FileError(f"{where} ends at {end:g} s, before it starts.")
    caption = next((row[c] for c in CAPTION_COLUMNS if row.get(c) is not None), None)
    if caption is not None and not isinstance(caption, str):
        raise FileError(f"{where} has a caption that is not text.")
    known = {column, "start", "end", *CAPTION_COLUMNS}
    frames = frames_entry(path, path.parent).media if path.is_dir() else Media(path)
    inside = path.resolve().is_relative_to(root.resolve())
    key = path.relative_to(root) if inside and not Path(name).is_absolute() else Path(path.name)
    return ClipEntry(
        key.with_suffix("").as_posix(),
        frames,
        flat(caption),
        start=start or 0.0,
        end=end,
        origin=where,
        facts={k: v for k, v in row.items() if k not in known and v not in (None, "")},
    )


def _seconds(value: object, word: str, *, where: str) -> float | None:
    """Parse seconds, as a number or as ``H:MM:SS.fff``."""
    if value is None or value == "":
        return None
    try:
        parts = [float(part) for part in str(value).split(":")]
        seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        if 0 <= seconds < float("inf") and len(parts) <= 3:
            return seconds
    except ValueError:
        pass
    raise FileError(f"{where} has {word} = {value!r:.40}, which is not a time in seconds.")


def csv_columns(path: Path) -> set[str]:
    """Read the column names in the first line.

    Raises:
        FileError: it is not a table.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            return set(_head(path, _csv_records(file)))
    except OSError as error:
        raise FileError(f"{path} cannot be read ({reason_of(error)}).") from None


def _head(path: Path, records: Iterator[tuple[int, list[str] | csv.Error]]) -> list[str]:
    """Read the names of a table's columns.

    Raises:
        FileError: the first line is broken.
    """
    _, columns = next(records, (1, []))
    if isinstance(columns, csv.Error):
        raise FileError(f"{path} line 1 is not the head of a table ({columns}).")
    if any(map(_is_no_text, columns)):
        raise FileError(f"{path} is not a table in UTF-8.")
    return [_column(column) for column in columns]


def _column(name: str) -> str:
    """Return a column's name without blanks, and in lower case if it is then one that is read."""
    name = name.strip()
    return name.lower() if name.lower() in _READ else name


def _csv_rows(path: Path, rows: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        # Bytes that are not UTF-8 become surrogates, so that only their row is bad.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            records = _csv_records(file)
            columns = _head(path, records)
            if len(set(columns)) < len(columns):
                raise FileError(f"{path} line 1 names a column twice.")
            for number, row in records:
                where = f"{path.name} line {number}"
                if isinstance(row, csv.Error):
                    reason = (
                        f"{where} has a quotation mark in the wrong place ({row}); put the text in "
                        "quotation marks, and write those within it twice."
                    )
                elif any(map(_is_no_text, row)):
                    reason = f"{where} is not UTF-8 text."
                elif row and len(row) != len(columns):
                    reason = f"{where} has {len(row)} fields for {len(columns)} columns."
                else:
                    if row:
                        yield where, dict(zip(columns, row, strict=True))
                    continue
                rows.broken.append(BrokenRow(where, reason))
    except OSError as error:
        raise FileError(f"{path} cannot be read ({reason_of(error)}).") from None


def _csv_records(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield the number of each record's last line, and its fields or the error.

    Fields are separated by what separates the names in the first line: a comma, or the semicolon or
    tab of a spreadsheet. Blanks before a field do not count.

    After an error, reading continues with the second line of that record: otherwise a quotation mark
    that is never closed would swallow the rest of the table.
    """
    source = iter(lines)
    first = next(source, None)
    if first is None:
        return
    separator = next((mark for mark in ",;\t" if mark in first), ",")
    waiting: deque[str] = deque([first])
    number = 0  # of the last line of the record before
    while True:
        taken: list[str] = []

        def feed(taken: list[str] = taken) -> Iterator[str]:
            while True:
                line = waiting.popleft() if waiting else next(source, None)
                if line is None:
                    return
                taken.append(line)
                yield line

        reader = csv.reader(feed(), strict=True, delimiter=separator, skipinitialspace=True)
        try:
            for row in reader:
                number += len(taken)
                taken.clear()
                yield number, row
        except csv.Error as error:
            number += 1
            waiting.extendleft(reversed(taken[1:]))
            yield number, error
        else:
            return


def _is_no_text(cell: str) -> bool:
    """Whether it contains bytes that are not UTF-8, as ``surrogateescape`` keeps them."""
    return not cell.isascii() and any("\udc80" <= character <= "\udcff" for character in cell)


def _jsonl_rows(path: Path, rows: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path.name} line {number}"
            if not line.strip():
                continue
            try:
                row = json_object(line, where=where)
            except FileError as error:
                rows.broken.append(BrokenRow(where, str(error)))
                continue
            yield where, {_column(str(name)): value for name, value in row.items()}


def _parquet_rows(path: Path, _: Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(
            f"{path} needs the package pyarrow; install the extra `data`, "
            "or save the table as metadata.jsonl."
        ) from None
    try:
        table: Any = parquet.ParquetFile(path)
        columns = [_column(name) for name in table.schema_arrow.names]
        if "file_name" not in columns:
            raise FileError(f"{path} has no column file_name.")
        numbers = itertools.count(1)
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                named = dict(zip(columns, row.values(), strict=True))
                yield f"{path.name} row {next(numbers)}", named
    except (OSError, ValueError) as error:  # includes pyarrow's own errors
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} is not a Parquet table; get it again.") from None


def lists_in(folder: Path) -> tuple[Path, Path] | None:
    """Return the two lists of a folder, if it has them."""
    prompts = next(
        (folder / n for n in ("prompts.txt", "prompt.txt") if (folder / n).is_file()), None
    )
    videos = folder / "videos.txt"
    return (prompts, videos) if prompts and videos.is_file() else None


def read_lists(source: Path, rows: Rows) -> None:
    """Read ``prompts.txt`` and ``videos.txt``, line by line, as in finetrainers."""
    found = lists_in(source)
    if found is None:
        raise InputError(f"{source} has no videos.txt with a prompts.txt beside it.")
    lines: list[list[str]] = []
    for path in found:
        try:
            lines.append(path.read_text(encoding="utf-8-sig").rstrip("\n").split("\n"))
        except (OSError, UnicodeDecodeError):
            raise FileError(f"{path} is not UTF-8 text.") from None
    prompts, videos = lines
    if len(prompts) != len(videos):
        raise FileError(
            f"{source} has {len(prompts)} lines in {found[0].name} and {len(videos)} in "
            "videos.txt; they must match line by line."
        )
    for number, (prompt, video) in enumerate(zip(prompts, videos, strict=True), 1):
        where = f"videos.txt line {number}"
        row = {"video": video, "caption": prompt}
        rows.add(where, partial(_row_entry, row, "video", rows.root, where=where, confined=False))
