"""Prompt travel in files: every notation that creators bring, read as keyframes.

A1111's lines, FizzNodes' and Deforum's tables, the project files of animatediff-cli-prompt-travel, and
the dictionaries of diffusers all become one mapping from keys to texts. Reading takes linear time, and
what cannot be read is named with its line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, InputError, reason_of
from animatediff.sampling.keyframes import (
    MAX_KEYFRAMES,
    InterpolationName,
    canonical_key,
    joined,
)

MAX_FILE_BYTES = 1 << 19

_LINE = re.compile(r"\s*+([+-]?\d[\d.]*+\s*+(?:%|s)?+)\s*+:(.*)", re.ASCII)
# Nothing here is tried twice from the same place, so that no text takes more than linear time.
_TOKEN = re.compile(
    r"""(?P<string>"(?:[^"\\\n]|\\.)*+"?|'(?:[^'\\\n]|\\.)*+'?)
      | (?P<comment>//[^\n]*|\#[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<bare>[+-]?\d[\w.%]*+)(?=\s*:)
      | (?P<comma>,)
      | (?P<blank>\s+)
      | (?P<other>[\w.+-]+|.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)
_AFTER_KEY = re.compile(r"\s*:")
_FRONTS = ("head_prompt", "head", "pre_text")
_BACKS = ("tail_prompt", "tail", "app_text")
_MAPS = ("prompts", "prompt_map")


@dataclass(frozen=True)
class Travel:
    """A prompt that changes over the frames, as a file says it; ``None`` is what it leaves open.

    Attributes:
        prompts: keys such as ``16``, ``50%`` or ``1.5s``, and the whole text at each.
        interpolation: of what the text encoder makes of them.
        hold: the share of the way to the next keyframe over which nothing changes yet.
        closed_loop: whether the last keyframe leads back to the first.
    """

    prompts: Mapping[str, str]
    interpolation: InterpolationName | None = None
    hold: float | None = None
    closed_loop: bool | None = None


def read_travel_file(path: str | Path) -> Travel:
    """The prompt travel that a file describes, in whichever notation.

    Raises:
        FileError: the file cannot be read, or a line of it cannot be what it should.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise FileError(f"{path} has {size} bytes, and keyframes take at most 512 KiB.")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise FileError(f"{path} cannot be read: {reason_of(error)}.") from None
    except UnicodeDecodeError:
        raise FileError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    try:
        return read_travel(text)
    except InputError as error:
        raise FileError(f"{path}: {error}") from None


def read_travel(text: str) -> Travel:
    """The prompt travel that a text describes: A1111's lines, or a table in braces or without.

    Raises:
        InputError: it is no such thing; the sentence begins with the line.
    """
    travel = _read_table(text) if _is_table(text) else _read_lines(text)
    if not travel.prompts:
        raise InputError("There is no keyframe in it; write, for example, 0: a fox.")
    return travel


def _is_table(text: str) -> bool:
    """Whether it begins with a key in quotes, or a brace before any; a brace alone is a wildcard's."""
    signs = (t for t in _TOKEN.finditer(text) if t.lastgroup not in ("blank", "comment"))
    first, second = next(signs, None), next(signs, None)
    if first is None or first[0] != "{":
        return first is not None and _is_key(first, text)
    return second is not None and (second.lastgroup == "bare" or _is_key(second, text))


def _read_lines(text: str) -> Travel:
    """A1111's notation: lines that begin with a frame, between lines that hold throughout."""
    front: list[str] = []
    back: list[str] = []
    found = _Found()
    for number, line in enumerate(text.splitlines(), start=1):
        keyframe = _LINE.fullmatch(line)
        if keyframe is None:
            if line.strip() and not line.lstrip().startswith("#"):
                (back if found.prompts else front).append(line)
        elif back:
            raise InputError(
                f"Line {number} is a keyframe after text that holds throughout ({back[0]!r:.40}); "
                "put that text first or last."
            )
        else:
            found.add(keyframe[1], keyframe[2].strip(), line=number)
    return Travel({key: joined(*front, keyframe, *back) for key, keyframe in found.prompts.items()})


def _read_table(text: str) -> Travel:
    """A table of keyframes, or a project file with one in it."""
    table = _tolerant_json(text)
    maps = [table[name] for name in _MAPS if name in table]
    if not maps:
        return _travel_of(table)
    entry = maps[0]
    if not isinstance(entry.value, dict):
        raise InputError(f"Line {entry.line}: the keyframes are no table of frames and texts.")
    front, back = ([_text(table[n]) for n in names if n in table] for names in (_FRONTS, _BACKS))
    travel = _travel_of(entry.value)
    whole = {key: joined(*front, keyframe, *back) for key, keyframe in travel.prompts.items()}
    settings = _project_settings(table) if "prompt_map" in table else _own_settings(table)
    return replace(settings, prompts=whole)


def _travel_of(table: Mapping[str, _Entry]) -> Travel:
    found = _Found()
    for key, entry in table.items():
        found.add(key, _text(entry), line=entry.line)
    return Travel(found.prompts)


def _own_settings(table: Mapping[str, _Entry]) -> Travel:
    known = {"interpolation": str, "hold": (int, float), "closed_loop": bool}
    settings: dict[str, Any] = {}
    for name, kind in known.items():
        if name in table:
            value, line = table[name].value, table[name].line
            if not isinstance(value, kind) or (name == "hold" and isinstance(value, bool)):
                raise InputError(f"Line {line}: {name} = {value!r:.40} cannot be used.")
            settings[name] = value
    return Travel({}, **settings)


def _project_settings(table: Mapping[str, _Entry]) -> Travel:
    """As animatediff-cli-prompt-travel reads its own files: round and round, along the arc."""
    ratio = table.get("prompt_fixed_ratio")
    value = 0.5 if ratio is None else ratio.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        line = 0 if ratio is None else ratio.line
        raise InputError(f"Line {line}: prompt_fixed_ratio = {value!r:.40} is not from 0 to 1.")
    if value == 1:
        return Travel({}, interpolation="step", hold=0.0, closed_loop=True)
    return Travel({}, interpolation="slerp", hold=float(value), closed_loop=True)


class _Found:
    """The keyframes read so far, and the line of each."""

    def __init__(self) -> None:
        self.prompts: dict[str, str] = {}
        self.lines: dict[str, int] = {}

    def add(self, key: str, text: str, *, line: int) -> None:
        try:
            name = canonical_key(key)
        except InputError as error:
            raise InputError(f"Line {line}: {error}") from None
        if name in self.prompts:
            raise InputError(
                f"Line {line}: the keyframe {name} is in line {self.lines[name]} already."
            )
        if len(self.prompts) == MAX_KEYFRAMES:
            raise InputError(f"Line {line}: at most {MAX_KEYFRAMES} keyframes can be.")
        for sign, what in (("`", "an expression in backticks"), ("--neg", "a negative prompt")):
            if sign in text:
                raise InputError(
                    f"Line {line}: {what} is not read in a keyframe; "
                    "write what holds at that frame, and the negative prompt beside it."
                )
        self.prompts[name], self.lines[name] = text, line


@dataclass(frozen=True)
class _Entry:
    """A value of a table, and the line of its key."""

    value: Any
    line: int


def _text(entry: _Entry) -> str:
    if not isinstance(entry.value, str):
        raise InputError(f"Line {entry.line}: {_plain(entry.value)!r:.40} is not text.")
    return entry.value


def _plain(value: Any) -> Any:
    return "a table" if isinstance(value, dict) else value


def _tolerant_json(text: str) -> dict[str, _Entry]:
    """JSON with what people leave in it: comments, trailing commas, bare numbers, no outer braces.

    Every key is given its line on the way, for JSON's own reader forgets them.

    Raises:
        InputError: even so it is no table.
    """
    strict: list[str] = []
    comma = False
    line = 1
    for match in _TOKEN.finditer(text):
        kind, sign = match.lastgroup, match[0]
        if kind == "comma":
            if comma:
                raise InputError(f"Line {line}: there are two commas, and nothing between them.")
            comma = True
        elif kind in ("blank", "comment"):
            strict.append("\n" * sign.count("\n") or " ")
        else:
            # A comma is kept only where something follows it.
            strict.append("," if comma and sign not in "}]" else "")
            comma = False
            content = _string(sign, line=line) if kind == "string" else sign
            if kind == "bare" or _is_key(match, text):
                content = f"{line}:{content}"
            strict.append(sign if kind == "other" else json.dumps(content))
        line += sign.count("\n")
    body = "".join(strict)
    try:
        return json.loads(
            body if body.lstrip().startswith("{") else f"{{{body}}}", object_pairs_hook=_entries
        )
    except InputError:
        raise
    except RecursionError:
        raise InputError("It is nested too deeply to be a table of keyframes.") from None
    except ValueError as error:
        where = f"Line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "A number"
        raise InputError(
            f'{where} cannot be read: keyframes are written as "0": "a fox", "8": "a hare".'
        ) from None


def _is_key(token: re.Match[str], text: str) -> bool:
    return token.lastgroup == "string" and _AFTER_KEY.match(text, token.end()) is not None


def _string(token: str, *, line: int) -> str:
    """What a string in either kind of quotes says."""
    if len(token) < 2 or token[-1] != token[0]:
        raise InputError(f"Line {line}: the text {token!r:.40} is never closed.")
    inner = token[1:-1]
    if "\\" not in inner and '"' not in inner:
        return inner
    inner = inner.replace("\\'", "'")
    if token[0] == "'":
        inner = inner.replace('\\"', '"').replace('"', '\\"')
    try:
        return json.loads(f'"{inner}"', strict=False)
    except ValueError:
        return inner  # a backslash that JSON does not know is one


def _entries(pairs: list[tuple[str, Any]]) -> dict[str, _Entry]:
    entries: dict[str, _Entry] = {}
    for name, value in pairs:
        line, _, key = name.partition(":")
        if key in entries:
            raise InputError(f"Line {line}: {key!r:.40} is in line {entries[key].line} already.")
        entries[key] = _Entry(value, int(line))
    return entries
