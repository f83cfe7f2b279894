"""Datasets from the settings of other trainers: sd-scripts, musubi-tuner, diffusion-pipe."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from animatediff.data.layouts.folders import add_folder
from animatediff.data.layouts.listing import ClipEntry, Rows
from animatediff.data.layouts.tables import read_jsonl
from animatediff.errors import FileError

_FOLDER_KEYS = ("video_directory", "image_directory", "image_dir", "path")
_SD_SCRIPTS = "image_dir"
"""The key of a folder in sd-scripts' files, and in no other trainer's."""
_TABLE_KEYS = ("video_jsonl_file", "image_jsonl_file")
_READ_KEYS = frozenset(
    {*_FOLDER_KEYS, *_TABLE_KEYS, "caption_extension", "num_repeats", "class_tokens"}
    | {"caption_prefix", "caption_suffix", "subsets"}
)


def read_toml(source: Path, rows: Rows) -> None:
    """Read folders, captions and repeats from the dataset files of these trainers.

    As in sd-scripts, its folders are not searched recursively, captions end in ``.caption`` unless
    the file says otherwise and are the first line, and prefix and suffix are joined with a blank.
    The other two trainers join a prefix without a blank.
    """
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


def _read_block(block: dict[str, Any], source: Path, rows: Rows, *, number: int) -> None:
    where = f"{source.name} block {number}"
    left = sorted(block.keys() - _READ_KEYS)
    if left:
        rows.notes.append(
            f"{source.name}: {', '.join(left)} {'does' if len(left) == 1 else 'do'} not select "
            f"clips and {'is' if len(left) == 1 else 'are'} ignored; see --size and --fps."
        )
    repeats = block.get("num_repeats", 1)
    if not isinstance(repeats, int) or repeats < 1:
        raise FileError(f"{where} has num_repeats = {repeats!r:.40}, which is not a whole number.")
    prefix, suffix = (str(block.get(f"caption_{end}", "")) for end in ("prefix", "suffix"))
    default, sd_scripts = block.get("class_tokens"), _SD_SCRIPTS in block
    if sd_scripts and "metadata_file" in block:
        raise FileError(
            f"{where} names a metadata_file, which is not read; put each caption beside its picture."
        )
    if sd_scripts and default is None:
        default = ""  # where sd-scripts finds neither a caption nor class_tokens

    def change(entry: ClipEntry) -> ClipEntry:
        caption = entry.caption if entry.caption is not None else default
        parts = (prefix, caption or "", suffix)
        joined = " ".join(filter(None, parts)) if sd_scripts else "".join(parts)
        return replace(
            entry,
            caption=joined if caption is not None else None,
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
        inner = Rows(place.parent)
        read_jsonl(place, inner)
        rows.entries += [change(entry) for entry in inner.entries]
        rows.broken += inner.broken
        return
    extension = str(block.get("caption_extension", ".caption" if sd_scripts else ".txt"))
    extension = extension if extension.startswith(".") else f".{extension}"
    add_folder(
        place,
        rows,
        suffixes=(extension,),
        deep=not sd_scripts,
        first_line=sd_scripts,
        change=change,
    )
