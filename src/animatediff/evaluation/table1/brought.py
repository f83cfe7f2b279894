"""Clips of systems that only others can run, such as Gen-2 and Pika Labs, matched by prompt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from animatediff.errors import FileError, InputError
from animatediff.evaluation.table1.page import REFERENCES, file_name
from animatediff.evaluation.table1.plan import DRAWN, Item
from animatediff.evaluation.table1.report import FROZEN, REAL

SUFFIXES = (".mp4", ".webm", ".gif", ".webp", ".apng", ".mov", ".mkv")
_TAKEN = (*DRAWN, FROZEN, REAL, REFERENCES)
_INDEX = re.compile(r"-\d+$")


@dataclass(frozen=True)
class Brought:
    """One system's clips.

    Attributes:
        name: in tables.
        files: by model and number of the prompt.
        missing: prompts without a clip.
    """

    name: str
    files: dict[tuple[str, int], Path]
    missing: tuple[str, ...]


def bring(texts: Iterable[str], *, items: Iterable[Item]) -> tuple[Brought, ...]:
    """Find the clips of every system that ``--bring`` names.

    Args:
        texts: NAME=FOLDER each.
        items: the prompts.

    Raises:
        InputError: a text is something else, or its name is that of another row of the table.
        FileError: a folder does not exist, or no prompt has a clip in it.
    """
    asked, known = list(items), {file_name(name): name for name in _TAKEN}
    found: list[Brought] = []
    for text in texts:
        name, folder = _parsed(text)
        if (other := known.get(file_name(name))) is not None:
            raise InputError(
                f"--bring cannot name a system {name}, as the table has {other} already; choose "
                "another name."
            )
        known[file_name(name)] = name
        found.append(match_clips(name, folder, asked))
    return tuple(found)


def _parsed(text: str) -> tuple[str, Path]:
    name, equals, folder = text.partition("=")
    name = name.strip()
    if not equals or not name or not folder:
        raise InputError(f"--bring takes NAME=FOLDER, not {text!r}.")
    if not Path(folder).is_dir():
        raise FileError(f"--bring {name}: there is no folder {folder}.")
    return name, Path(folder)


def match_clips(name: str, folder: Path, items: Iterable[Item]) -> Brought:
    """Find a clip for each prompt by its file name.

    A clip is named after its prompt: letters and digits must agree, whatever is between them, and
    a number at the end (``PROMPT-0.mp4``) is ignored. With a folder of the model's name inside
    ``folder``, clips of that model are looked up there.

    Raises:
        FileError: no prompt has a clip.
    """
    files: dict[tuple[str, int], Path] = {}
    missing: list[str] = []
    names: dict[Path, dict[str, Path]] = {}
    for item in items:
        own = folder / item.model
        place = own if own.is_dir() else folder
        if place not in names:
            names[place] = _clips_of(place)
        found = names[place].get(_letters(item.prompt))
        if found is None:
            missing.append(item.prompt)
        else:
            files[item.model, item.index] = found
    if not files:
        raise FileError(
            f"--bring {name}: no clip in {folder} is named after a prompt of the plan, such as "
            f"{missing[0]!r}."
        )
    return Brought(name, files, tuple(dict.fromkeys(missing)))


def _clips_of(folder: Path) -> dict[str, Path]:
    clips = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    by_name: dict[str, Path] = {}
    for path in clips:
        by_name.setdefault(_letters(path.stem), path)
        by_name.setdefault(_letters(_INDEX.sub("", path.stem)), path)
    return by_name


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold().replace("_", " ")))
