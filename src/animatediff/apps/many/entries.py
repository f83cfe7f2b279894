"""Read a file of requests: TOML, JSON lines, CSV, or one prompt a line.

Every row is checked before anything is drawn; an error names the file and the row.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from animatediff.apps.many.typed_values import field_named, plain_value, value_typed
from animatediff.config import from_table, read_toml
from animatediff.errors import FileError, InputError, reason_of
from animatediff.options.declaration import declared
from animatediff.sampling.request import AnimationRequest

SUFFIXES = (".toml", ".jsonl", ".csv", ".txt")
MAX_BYTES = 64 << 20
MAX_REQUESTS = 100_000
TABLES = ("request", "requests")
"""Names of the array of tables in TOML."""
MAX_RANGE = 10_000


@dataclass(frozen=True)
class Entry:
    """One request of a file.

    Attributes:
        request: the checked request.
        source: where it stands, such as ``foxes.csv, row 3``.
        name: the name that the file gives its output; empty if it gives none.
        formats: the formats that the file gives it; empty if it gives none.
    """

    request: AnimationRequest
    source: str
    name: str = ""
    formats: tuple[str, ...] = ()


def read_entries(path: Path, *, overrides: Mapping[str, Any]) -> list[Entry]:
    """The requests of a file, in its order; a row with several seeds is several requests.

    Args:
        path: a file that ends in one of ``SUFFIXES``.
        overrides: fields that replace those of every row.

    Raises:
        FileError: the file is missing, too large, or is not of the format that its suffix says.
        InputError: a row is not a request that can be drawn, or there are no rows.
    """
    entries: list[Entry] = []
    for source, table in _tables(path):
        for entry in _entries_of(table, overrides, source=source):
            entries.append(entry)
            if len(entries) > MAX_REQUESTS:
                raise InputError(f"{path} has more than {MAX_REQUESTS:,} requests; split it.")
    if not entries:
        raise InputError(f"{path} has no requests.")
    return entries


def _tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each row as a table, with where it stands."""
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise FileError(
            f"{path} does not end in {', '.join(SUFFIXES)}, which says how its requests are written."
        )
    if kind == ".toml":
        yield from _toml_tables(path)
        return
    text = _text_of(path)
    if kind == ".csv":
        yield from _csv_tables(path, text)
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not (kind == ".txt" and line.lstrip().startswith("#")):
            source = f"{path}, line {number}"
            yield source, {"prompt": line.strip()} if kind == ".txt" else _json_table(line, source)


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError(f"{path} has more than {MAX_BYTES >> 20} MiB; split it.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8 text; save it as UTF-8.") from None


def _toml_tables(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """What stands at the top holds for every ``[[request]]`` that does not say otherwise."""
    whole = read_toml(path)
    lists = [name for name in TABLES if name in whole]
    if not lists:
        yield str(path), whole
        return
    shared = {key: value for key, value in whole.items() if key not in TABLES}
    number = 0
    for name in lists:
        rows = whole[name] if isinstance(whole[name], list) else [whole[name]]
        for row in rows:
            number += 1
            source = f"{path}, request {number}"
            if not isinstance(row, dict):
                raise InputError(f"{source} is not a table; write [[request]] above its fields.")
            yield source, {**shared, **row}


def _json_table(line: str, source: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise FileError(f"{source} is not JSON; write one object in every line.") from None
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise FileError(f"{source} is neither an object nor a text.")
    value.pop("schema", None)
    return value


def _csv_tables(path: Path, text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a table whose first line names the fields; empty cells are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if "prompt" not in header:
            raise FileError(
                f"{path} has no column prompt; its first line must name the columns, such as "
                "prompt,seed,steps."
            )
        twice = next((name for name in header if name and header.count(name) > 1), None)
        if twice:
            raise FileError(f"{path} has the column {twice} twice.")
        for row in reader:
            source = f"{path}, line {reader.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) > len(header):
                raise FileError(
                    f"{source} has {len(row)} cells and the first line {len(header)}; "
                    "put text with commas in double quotes."
                )
            cells = dict(zip(header, row, strict=False))
            yield source, {name: cell for name, cell in cells.items() if name and cell.strip()}
    except csv.Error as error:
        raise FileError(f"{path}, line {reader.line_num} is not CSV: {error}.") from None


def _entries_of(
    table: Mapping[str, Any], overrides: Mapping[str, Any], *, source: str
) -> Iterator[Entry]:
    """One row's requests, one for each seed."""
    rest = dict(table)
    name = str(rest.pop("name", "")).strip()
    asked = str(rest.pop("format", "")).lower()
    formats = tuple(part.strip().lstrip(".") for part in asked.split(",") if part.strip())
    fields: dict[str, Any] = {"prompt": ""}
    if "size" in rest:
        fields["width"], fields["height"] = _size(str(rest.pop("size")), source=source)
    seeds = _seeds(rest.pop("seed", None), source=source)
    for word, value in rest.items():
        row = field_named(word, source=source)
        typed = isinstance(value, str) and row.annotation is not str
        fields[row.field] = value_typed(row, value, source=source) if typed else value
        if row.is_list and not isinstance(fields[row.field], list):
            fields[row.field] = [value]
    fields |= {field: plain_value(value) for field, value in overrides.items()}
    if "seed" in overrides:
        seeds = [None]
    for seed in seeds:
        own = fields if seed is None else {**fields, "seed": seed}
        request = from_table(own, AnimationRequest, source=source)
        try:
            request = request.validated()
        except InputError as error:
            raise InputError(f"{source}: {error}") from None
        if not (request.prompt.strip() or request.prompts):
            raise InputError(f"{source} has no prompt.")
        yield Entry(request, source, name=name, formats=formats)


def _size(text: str, *, source: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", text.strip().lower())
    if match is None:
        raise InputError(f"{source}: size = {text!r:.40} is not width x height, such as 128x128.")
    return int(match[1]), int(match[2])


def _seeds(value: object, *, source: str) -> list[int | None]:
    """Seeds of a number, a list, or a text such as ``1,2,3`` or ``0-9``; ``None`` is the default."""
    if value is None:
        return [None]
    parts = value if isinstance(value, list) else str(value).replace(";", ",").split(",")
    seeds: list[int | None] = []
    for part in (str(part).strip() for part in parts):
        if part == "-1":
            raise InputError(
                f"{source}: seed = -1 draws another seed each time, so that what is done could not "
                "be recognised; give a number."
            )
        match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
        if last < first or last - first >= MAX_RANGE:
            raise InputError(
                f"{source}: seed = {part!r:.40} is not a whole number, nor a range such as 0-9."
            )
        seeds += range(first, last + 1)
    return list(dict.fromkeys(seeds))


assert not {"name", "format", "size"} & {row.field for row in declared(AnimationRequest)}
