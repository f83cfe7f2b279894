"""Which clips a data set has: every layout that people keep theirs in, as one list of entries.

Listing opens no video. A layout that is not what it should be is an error; a single row that is
wrong is set aside with one sentence that names its line, and the rest is listed.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import itertools
import json
import re
import tarfile
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from animatediff.data.decoding import Media
from animatediff.errors import FileError, InputError

Layout = Literal["folder", "frames", "metadata", "webvid", "jsonl", "toml", "lists", "webdataset"]

VIDEOS = frozenset(".mp4 .m4v .mov .webm .mkv .avi .mpg .mpeg .ts .flv .wmv .ogv .gif".split())
PICTURES = frozenset(".png .jpg .jpeg .webp .avif .bmp".split())
CAPTION_COLUMNS = ("text", "caption", "prompt")
CAPTION_SUFFIXES = (".txt", ".caption")
FOLDER_CAPTIONS = ("caption.txt", "prompt.txt")
FRAME_FACTS = "frames.json"
MAX_CAPTION_BYTES = 64 << 10
OURS = frozenset({"quarantine.jsonl", "surveys.jsonl", "metrics.jsonl"})
"""Files that our own commands leave in a folder; they list no clips."""

_NUMBERED = re.compile(r"^(.*?)(\d+)$")


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
            json.dumps([e.key, e.text, e.start, e.end, e.repeats, _bytes_of(e.media)])
            for e in self.entries
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def list_clips(data: Path, *, layout: Layout | None = None, videos: Path | None = None) -> Listing:
    """Every clip of a folder, table, archive or single file.

    Args:
        data: a folder in any layout, or the table or archive itself.
        layout: how it is kept, where that cannot be told.
        videos: the folder that a table's names are relative to; the table's own if ``None``.

    Raises:
        InputError: there is nothing there, no clip in it, or two layouts at once.
        FileError: a table is not what it should be, as a whole.
    """
    if not data.exists():
        raise InputError(f"There is no {data}; give a folder of clips, or a table of them.")
    layout, source = (layout, _source_for(layout, data)) if layout else layout_of(data)
    rows = _Rows(videos or (source if source.is_dir() else source.parent))
    _READERS[layout](source, rows)
    entries = tuple(_with_unique_keys(rows.entries))
    if not entries and not rows.broken:
        raise InputError(f"{data} holds no clips; see `animatediff dataset check --help`.")
    return Listing(data, layout, entries, tuple(rows.broken), tuple(dict.fromkeys(rows.notes)))


def layout_of(data: Path) -> tuple[Layout, Path]:
    """How a data set is kept, and the file or folder that tells its clips.

    Raises:
        InputError: that cannot be told, or in two ways.
        FileError: a table has neither the columns of one layout nor of another.
    """
    if data.is_file():
        return _layout_of_file(data)
    found = [
        _layout_of_file(path)
        for path in sorted(data.iterdir())
        if path.suffix.lower() in _TABLES and path.name not in OURS and path.is_file()
    ]
    if _lists_in(data):
        found.append(("lists", data))
    if next(data.rglob("*.tar"), None) is not None:
        found.append(("webdataset", data))
        if loose := next((p for p in data.rglob("*") if p.suffix.lower() in VIDEOS), None):
            found.append(("folder", loose))
    if len(found) > 1:
        names = " and ".join(
            "*.tar" if kind == "webdataset" else path.name for kind, path in found[:2]
        )
        raise InputError(
            f"{data} holds both {names}; give the one that tells its clips instead of the folder."
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
            columns = _csv_columns(path)
            if {"videoid", "name"} <= columns:
                return "webvid", path
            if "file_name" in columns:
                return "metadata", path
            raise FileError(
                f"{path} line 1 names neither file_name nor videoid and name among its columns."
            )
        case suffix if suffix in VIDEOS | PICTURES:
            return "folder", path
        case _:
            known = ", ".join((*_TABLES, ".tar"))
            raise InputError(f"{path} is no list of clips ({known}) and no clip.")


def _source_for(layout: Layout, data: Path) -> Path:
    """The table of a layout that was asked for by name."""
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


class _Rows:
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


# --- folders --------------------------------------------------------------------------------------


def _read_folder(source: Path, rows: _Rows) -> None:
    """Videos and pictures, each with a text of the same name; folders of frames; at any depth."""
    if source.is_file():
        rows.add(source.name, partial(_file_entry, source, source.parent, CAPTION_SUFFIXES))
        return
    _add_folder(source, source, rows, suffixes=CAPTION_SUFFIXES)


def _add_folder(
    folder: Path,
    root: Path,
    rows: _Rows,
    *,
    suffixes: tuple[str, ...],
    change: Callable[[ClipEntry], ClipEntry] = lambda entry: entry,
) -> None:
    paths = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
    pictures = [p for p in paths if p.suffix.lower() in PICTURES and p.is_file()]
    if folder != root and _are_frames(folder, pictures):
        rows.add(str(folder), lambda: change(_frames_entry(folder, root)))
        pictures = []
    for path in paths:
        if path.is_dir():
            _add_folder(path, root, rows, suffixes=suffixes, change=change)
        elif path.suffix.lower() in VIDEOS or path in pictures:
            rows.add(str(path), lambda p=path: change(_file_entry(p, root, suffixes)))


def _read_frames(source: Path, rows: _Rows) -> None:
    """One folder of numbered pictures."""
    rows.add(source.name, partial(_frames_entry, source, source.parent))


def _file_entry(path: Path, root: Path, suffixes: tuple[str, ...]) -> ClipEntry:
    key = path.relative_to(root).with_suffix("").as_posix()
    caption = _caption_beside(path, suffixes)
    return ClipEntry(key, Media(path), caption, origin=path.name)


def _are_frames(folder: Path, pictures: list[Path]) -> bool:
    """Whether pictures are the frames of one clip: numbered without a gap, none with its own text."""
    if (folder / FRAME_FACTS).is_file():
        return True
    matches = [_NUMBERED.match(path.stem) for path in pictures]
    if len(pictures) < 2 or not all(matches):
        return False
    names = {match[1] for match in matches if match}
    numbers = sorted(int(match[2]) for match in matches if match)
    even = numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    captioned = any(path.with_suffix(s).exists() for path in pictures for s in CAPTION_SUFFIXES)
    return len(names) == 1 and even and not captioned


def _frames_entry(folder: Path, root: Path) -> ClipEntry:
    pictures = [p for p in folder.iterdir() if p.suffix.lower() in PICTURES]
    if not pictures:
        raise FileError(f"{folder} holds no pictures.")
    numbered = {path: _NUMBERED.match(path.stem) for path in pictures}
    stray = next((path for path, match in numbered.items() if match is None), None)
    if stray is not None:
        raise FileError(f"{stray} has no number at the end of its name to put it in order.")
    ordered = sorted(pictures, key=lambda p: int((numbered[p] or [0, 0, 0])[2]))
    fps = None
    if (folder / FRAME_FACTS).is_file():
        told = _json_object((folder / FRAME_FACTS).read_bytes(), where=str(folder / FRAME_FACTS))
        fps = _rate(told.get("fps"), where=str(folder / FRAME_FACTS))
        told_count = str(told.get("frames", len(ordered)))
        if told_count != str(len(ordered)):
            raise FileError(f"{folder} has {len(ordered)} of {told_count} frames; get it again.")
    inside = next((folder / name for name in FOLDER_CAPTIONS if (folder / name).is_file()), None)
    beside = folder.with_name(f"{folder.name}.txt")
    text = inside or (beside if beside.is_file() else None)
    return ClipEntry(
        folder.relative_to(root).as_posix(),
        Media(folder, pictures=tuple(ordered), fps=fps),
        _caption_in(text) if text is not None else None,
        origin=folder.name,
    )


def _caption_beside(path: Path, suffixes: tuple[str, ...]) -> str | None:
    for suffix in suffixes:
        text = path.with_suffix(suffix)
        if text != path and text.is_file():
            return _caption_in(text)
    return None


def _caption_in(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_CAPTION_BYTES + 1)
    if len(content) > MAX_CAPTION_BYTES:
        raise FileError(f"{path} is over 64 KiB, which no caption is.")
    try:
        return " ".join(content.decode("utf-8-sig").split())
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8 text.") from None


# --- tables ---------------------------------------------------------------------------------------


def _read_metadata(source: Path, rows: _Rows) -> None:
    """``file_name`` and ``text``, as Hugging Face's VideoFolder has them: CSV, JSON lines, Parquet."""
    readers = {".csv": _csv_rows, ".jsonl": _jsonl_rows, ".parquet": _parquet_rows}
    for where, row in readers[source.suffix.lower()](source, rows):
        rows.add(where, partial(_row_entry, row, "file_name", rows.root, where=where))


def _read_jsonl(source: Path, rows: _Rows) -> None:
    """``video_path`` (or ``image_path``) and ``caption``, as musubi-tuner has them."""
    for where, row in _jsonl_rows(source, rows):
        column = next((c for c in ("video_path", "image_path") if c in row), "file_name")
        rows.add(where, partial(_row_entry, row, column, rows.root, where=where, confined=False))


def _read_webvid(source: Path, rows: _Rows) -> None:
    """``videoid,name,page_dir``, as WebVid and the authors' trainer have them."""
    folders = (rows.root, rows.root / "videos", rows.root / source.stem)
    for where, row in _csv_rows(source, rows):
        rows.add(where, partial(_webvid_entry, row, folders, where=where))


def _webvid_entry(row: Mapping[str, Any], folders: Iterable[Path], *, where: str) -> ClipEntry:
    name, page = str(row.get("videoid") or ""), str(row.get("page_dir") or "")
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise FileError(f"{where} has the videoid {name!r:.60}, which is no name of a file.")
    places = [f"{name}.mp4"]
    if page and ".." not in PurePosixPath(page).parts and not page.startswith("/"):
        places.append(f"{page}/{name}.mp4")
    path = next((f / p for f in folders for p in places if (f / p).is_file()), None)
    if path is None:
        raise FileError(f"{where} names {name}, and there is no {places[0]}.")
    caption = row.get("name")
    facts = {k: v for k, v in row.items() if k not in ("videoid", "name") and v}
    return ClipEntry(name, Media(path), _flat(caption), origin=where, facts=facts)


def _row_entry(
    row: Mapping[str, Any], column: str, root: Path, *, where: str, confined: bool = True
) -> ClipEntry:
    """An entry of a row that names a file.

    If ``confined``, the file must lie within ``root``: so it does in data sets that are passed
    around, whereas people's own lists may point anywhere.
    """
    name = row.get(column)
    if not isinstance(name, str) or not name.strip():
        raise FileError(f"{where} has no {column}.")
    path = root / name.strip()
    if confined and not path.resolve().is_relative_to(root.resolve()):
        raise FileError(f"{where} names {name!r:.80}, which lies outside {root}.")
    if not path.exists():
        raise FileError(f"{where} names {name!r:.80}, which is not there.")
    start, end = (_seconds(row.get(word), word, where=where) for word in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise FileError(f"{where} ends at {end:g} s, before it starts.")
    caption = next((row[c] for c in CAPTION_COLUMNS if row.get(c) is not None), None)
    if caption is not None and not isinstance(caption, str):
        raise FileError(f"{where} has a caption that is no text.")
    known = {column, "start", "end", *CAPTION_COLUMNS}
    frames = _frames_entry(path, path.parent).media if path.is_dir() else Media(path)
    inside = path.resolve().is_relative_to(root.resolve())
    key = path.relative_to(root) if inside and not Path(name).is_absolute() else Path(path.name)
    return ClipEntry(
        key.with_suffix("").as_posix(),
        frames,
        _flat(caption),
        start=start or 0.0,
        end=end,
        origin=where,
        facts={k: v for k, v in row.items() if k not in known and v not in (None, "")},
    )


def _flat(caption: object) -> str | None:
    return " ".join(str(caption).split()) if caption is not None else None


def _seconds(value: object, word: str, *, where: str) -> float | None:
    """Seconds, as a number or as ``H:MM:SS.fff``."""
    if value is None or value == "":
        return None
    try:
        parts = [float(part) for part in str(value).split(":")]
        seconds = sum(part * 60**power for power, part in enumerate(reversed(parts)))
        if 0 <= seconds < float("inf") and len(parts) <= 3:
            return seconds
    except ValueError:
        pass
    raise FileError(f"{where} says {word} = {value!r:.40}, which is no time in seconds.")


def _rate(value: object, *, where: str) -> Fraction | None:
    if value is None:
        return None
    try:
        rate = Fraction(str(value))
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= 1000:
        raise FileError(f"{where} says fps = {value!r:.40}, which is no rate.")
    return rate


def _csv_columns(path: Path) -> set[str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return set(next(csv.reader(file), []))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileError(f"{path} is not a table in UTF-8 ({error}).") from None


def _csv_rows(path: Path, rows: _Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                raise FileError(f"{path} line 1 names a column twice.")
            for row in reader:
                where = f"{path.name} line {reader.line_num}"
                if not row:
                    continue
                if len(row) != len(columns):
                    reason = f"{where} has {len(row)} fields, and there are {len(columns)} columns."
                    rows.broken.append(BrokenRow(where, reason))
                    continue
                yield where, dict(zip(columns, row, strict=True))
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8 text.") from None
    except (OSError, csv.Error) as error:
        raise FileError(f"{path} is not a table ({error}).") from None


def _jsonl_rows(path: Path, rows: _Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path.name} line {number}"
            if not line.strip():
                continue
            try:
                row = _json_object(line, where=where)
            except FileError as error:
                rows.broken.append(BrokenRow(where, str(error)))
                continue
            yield where, row


def _parquet_rows(path: Path, _: _Rows) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise InputError(
            f"{path} needs the package pyarrow; install it with `pip install 'animatediff[data]'`, "
            "or save the table as metadata.jsonl."
        ) from None
    try:
        table: Any = parquet.ParquetFile(path)
        columns = table.schema_arrow.names
        if "file_name" not in columns:
            raise FileError(f"{path} has no column file_name.")
        numbers = itertools.count(1)
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield f"{path.name} row {next(numbers)}", row
    except (OSError, ValueError) as error:  # pyarrow's own errors are among these
        if isinstance(error, FileError):
            raise
        raise FileError(f"{path} is not a Parquet table; get it again.") from None


def _json_object(content: bytes, *, where: str) -> dict[str, Any]:
    try:
        value = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise FileError(f"{where} is not JSON.") from None
    if not isinstance(value, dict):
        raise FileError(f"{where} is not an object of JSON.")
    return value


def _lists_in(folder: Path) -> tuple[Path, Path] | None:
    prompts = next(
        (folder / n for n in ("prompts.txt", "prompt.txt") if (folder / n).is_file()), None
    )
    videos = folder / "videos.txt"
    return (prompts, videos) if prompts and videos.is_file() else None


def _read_lists(source: Path, rows: _Rows) -> None:
    """``prompts.txt`` and ``videos.txt``, line by line, as finetrainers has them."""
    found = _lists_in(source)
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
            f"{source} has {len(prompts)} lines in {found[0].name} and {len(videos)} in videos.txt, "
            "and they belong together line by line."
        )
    for number, (prompt, video) in enumerate(zip(prompts, videos, strict=True), 1):
        where = f"videos.txt line {number}"
        row = {"video": video, "caption": prompt}
        rows.add(where, partial(_row_entry, row, "video", rows.root, where=where, confined=False))


# --- the settings of other trainers ---------------------------------------------------------------

_FOLDER_KEYS = ("video_directory", "image_directory", "image_dir", "path")
_TABLE_KEYS = ("video_jsonl_file", "image_jsonl_file")
_READ_KEYS = frozenset(
    {*_FOLDER_KEYS, *_TABLE_KEYS, "caption_extension", "num_repeats", "class_tokens"}
    | {"caption_prefix", "subsets"}
)


def _read_toml(source: Path, rows: _Rows) -> None:
    """Folders, captions and repeats of the data set files of sd-scripts, musubi and diffusion-pipe."""
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise FileError(f"{source} is not TOML ({error}).") from None
    general = table.get("general", {})
    shared = {k: v for k, v in table.items() if k not in ("general", "datasets", "directory")}
    blocks = [*table.get("datasets", []), *table.get("directory", [])]
    if not isinstance(general, dict) or not all(isinstance(b, dict) for b in blocks) or not blocks:
        raise FileError(f"{source} has neither [[datasets]] nor [[directory]].")
    for number, block in enumerate(blocks, 1):
        for subset in block.get("subsets", [{}]):
            _read_block({**shared, **general, **block, **subset}, source, rows, number=number)


def _read_block(block: dict[str, Any], source: Path, rows: _Rows, *, number: int) -> None:
    where = f"{source.name} block {number}"
    left = sorted(block.keys() - _READ_KEYS)
    if left:
        rows.notes.append(
            f"{source.name}: {', '.join(left)} {'is' if len(left) == 1 else 'are'} not about which "
            "clips there are, and not followed; see --size and --fps."
        )
    repeats = block.get("num_repeats", 1)
    if not isinstance(repeats, int) or repeats < 1:
        raise FileError(f"{where} says num_repeats = {repeats!r:.40}, which is no whole number.")
    prefix, default = str(block.get("caption_prefix", "")), block.get("class_tokens")

    def change(entry: ClipEntry) -> ClipEntry:
        caption = entry.caption if entry.caption is not None else default
        return replace(
            entry,
            caption=prefix + caption if caption is not None else None,
            repeats=repeats,
            origin=f"{where}: {entry.origin}",
        )

    places = [(key, block[key]) for key in (*_FOLDER_KEYS, *_TABLE_KEYS) if key in block]
    if len(places) != 1 or not isinstance(places[0][1], str):
        raise FileError(f"{where} needs one of {', '.join((*_FOLDER_KEYS, *_TABLE_KEYS))}.")
    key, place = places[0][0], rows.root / places[0][1]
    if not place.exists():
        raise FileError(f"{where} names {place}, which is not there.")
    if key in _TABLE_KEYS:
        inner = _Rows(place.parent)
        _read_jsonl(place, inner)
        rows.entries += [change(entry) for entry in inner.entries]
        rows.broken += inner.broken
        return
    suffix = str(block.get("caption_extension", ".txt"))
    suffix = suffix if suffix.startswith(".") else f".{suffix}"
    _add_folder(place, place, rows, suffixes=(suffix,), change=change)


# --- archives -------------------------------------------------------------------------------------


def _read_webdataset(source: Path, rows: _Rows) -> None:
    """Shards: ``KEY.mp4`` with ``KEY.txt`` or ``KEY.json`` beside it in a tar."""
    shards = [source] if source.is_file() else sorted(source.rglob("*.tar"))
    for shard in shards:
        prefix = (
            f"{shard.relative_to(source).with_suffix('').as_posix()}/" if len(shards) > 1 else ""
        )
        parts: dict[str, dict[str, tarfile.TarInfo]] = {}
        texts: dict[str, dict[str, bytes]] = {}
        try:
            with tarfile.open(shard, "r:") as tar:
                for member in tar:
                    stem, suffix = _split_member(member.name.removeprefix("./"))
                    if not member.isreg() or not suffix:
                        continue
                    parts.setdefault(stem, {})[suffix] = member
                    if suffix in (".json", *CAPTION_SUFFIXES):
                        stream = tar.extractfile(member)
                        content = stream.read(MAX_CAPTION_BYTES + 1) if stream else b""
                        texts.setdefault(stem, {})[suffix] = content
        except (OSError, tarfile.TarError) as error:
            reason = f"{shard} is broken ({error}); clips after that are lost, so get it again."
            rows.broken.append(BrokenRow(shard.name, reason))
        for stem, members in parts.items():
            where = f"{shard.name}: {stem}"
            rows.add(
                where,
                partial(
                    _member_entry, shard, prefix + stem, members, texts.get(stem, {}), where=where
                ),
            )


def _split_member(name: str) -> tuple[str, str]:
    """WebDataset's rule: a key ends at the first dot of the file's name."""
    folder, slash, file = name.rpartition("/")
    stem, dot, suffix = file.partition(".")
    return f"{folder}{slash}{stem}", f"{dot}{suffix}".lower()


def _member_entry(
    shard: Path,
    key: str,
    members: Mapping[str, tarfile.TarInfo],
    texts: Mapping[str, bytes],
    *,
    where: str,
) -> ClipEntry:
    shown = [suffix for suffix in members if suffix in VIDEOS | PICTURES]
    if len(shown) != 1:
        raise FileError(f"{where} has {len(shown)} videos or pictures, and a clip has one.")
    facts = _json_object(texts[".json"], where=f"{where}.json") if ".json" in texts else {}
    caption: object = None
    for suffix in CAPTION_SUFFIXES:
        if suffix in texts:
            try:
                caption = texts[suffix].decode("utf-8-sig")
            except UnicodeDecodeError:
                raise FileError(f"{where}{suffix} is not UTF-8 text.") from None
            break
    else:
        caption = next((facts[c] for c in CAPTION_COLUMNS if facts.get(c) is not None), None)
    member, frames = members[shown[0]], facts.get("frames")
    # The built-in world's clips are their frames, stacked.
    strip = frames if shown == [".webp"] and isinstance(frames, int) and frames > 1 else 0
    media = Media(shard, offset=member.offset_data, length=member.size, strip=strip)
    return ClipEntry(key, media, _flat(caption), origin=where, facts=facts)


# --- all of them ----------------------------------------------------------------------------------

_READERS: Mapping[Layout, Callable[[Path, _Rows], None]] = {
    "folder": _read_folder,
    "frames": _read_frames,
    "metadata": _read_metadata,
    "webvid": _read_webvid,
    "jsonl": _read_jsonl,
    "toml": _read_toml,
    "lists": _read_lists,
    "webdataset": _read_webdataset,
}
LAYOUTS: tuple[Layout, ...] = tuple(_READERS)


def _with_unique_keys(entries: Iterable[ClipEntry]) -> Iterator[ClipEntry]:
    """Clips of one name, such as several parts of one video, are numbered."""
    seen: dict[str, int] = {}
    for entry in entries:
        seen[entry.key] = number = seen.get(entry.key, 0) + 1
        yield entry if number == 1 else replace(entry, key=f"{entry.key}#{number}")


def _bytes_of(media: Media) -> int | None:
    if media.length is not None:
        return media.length
    paths = media.pictures or (media.path,)
    return sum(path.stat().st_size for path in paths if path.exists())
