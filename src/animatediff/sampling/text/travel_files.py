"""Read keyframes from prompt travel files of other programs.

Supported are A1111's lines, FizzNodes' and Deforum's tables, project files of
animatediff-cli-prompt-travel, and dictionaries of diffusers. Reading takes linear time, and errors name
the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from animatediff.errors import FileError, InputError, reason_of
from animatediff.sampling.text.keyframes import (
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
    """The prompt travel in a file; ``None`` for settings that it does not have.

    Attributes:
        prompts: the whole prompt for each key, such as ``16``, ``50%`` or ``1.5s``.
        interpolation: of the text encoder's states.
        hold: share of each interval in which the prompt does not change yet.
        closed_loop: whether the prompt returns from the last keyframe to the first.
        negatives: the negative prompt of keyframes that have one, after ``--neg``.
    """

    prompts: Mapping[str, str]
    interpolation: InterpolationName | None = None
    hold: float | None = None
    closed_loop: bool | None = None
    negatives: Mapping[str, str] = field(default_factory=dict[str, str])


def read_travel_file(path: str | Path) -> Travel:
    """Read the prompt travel in a file, in any of the notations.

    Raises:
        FileError: the file or one of its lines cannot be read.
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
    """Parse prompt travel: A1111's lines, or a table with or without braces.

    Raises:
        InputError: it cannot be parsed; the sentence begins with the line.
    """
    travel = _read_table(text) if _is_table(text) else _read_lines(text)
    if not travel.prompts:
        raise InputError("There is no keyframe in it; write, for example, 0: a fox.")
    return travel


def _is_table(text: str) -> bool:
    """Whether the text begins with a quoted key, perhaps after a brace; a brace alone is a wildcard."""
    signs = (t for t in _TOKEN.finditer(text) if t.lastgroup not in ("blank", "comment"))
    first, second = next(signs, None), next(signs, None)
    if first is None or first[0] != "{":
        return first is not None and _is_key(first, text)
    return second is not None and (second.lastgroup == "bare" or _is_key(second, text))


def _read_lines(text: str) -> Travel:
    """Parse A1111's notation: lines that begin with a frame, and lines for all frames."""
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
    whole = {key: joined(*front, keyframe, *back) for key, keyframe in found.prompts.items()}
    return Travel(whole, negatives=found.negatives)


def _read_table(text: str) -> Travel:
    """Parse a table of keyframes, or a project file that contains one."""
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
    return replace(settings, prompts=whole, negatives=travel.negatives)


def _travel_of(table: Mapping[str, _Entry]) -> Travel:
    found = _Found()
    for key, entry in table.items():
        found.add(key, _text(entry), line=entry.line)
    return Travel(found.prompts, negatives=found.negatives)


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
    """Return the settings of animatediff-cli-prompt-travel: a closed loop, along the arc."""
    ratio = table.get("prompt_fixed_ratio")
    value = 0.5 if ratio is None else ratio.value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        line = 0 if ratio is None else ratio.line
        raise InputError(f"Line {line}: prompt_fixed_ratio = {value!r:.40} is not from 0 to 1.")
    if value == 1:
        return Travel({}, interpolation="step", hold=0.0, closed_loop=True)
    return Travel({}, interpolation="slerp", hold=float(value), closed_loop=True)


class _Found:
    """Keyframes read so far, with their lines."""

    def __init__(self) -> None:
        self.prompts: dict[str, str] = {}
        self.negatives: dict[str, str] = {}
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
        if "`" in text:
            raise InputError(
                f"Line {line}: an expression in backticks is not read in a keyframe; "
                "write what holds at that frame."
            )
        text, sign, negative = (part.strip() for part in text.partition("--neg"))
        if sign:
            self.negatives[name] = negative
        self.prompts[name], self.lines[name] = text, line


@dataclass(frozen=True)
class _Entry:
    """A value of a table, with the line of its key."""

    value: Any
    line: int


def _text(entry: _Entry) -> str:
    if not isinstance(entry.value, str):
        raise InputError(f"Line {entry.line}: {_plain(entry.value)!r:.40} is not text.")
    return entry.value


def _plain(value: Any) -> Any:
    return "a table" if isinstance(value, dict) else value


def _tolerant_json(text: str) -> dict[str, _Entry]:
    """Parse JSON with comments, trailing commas, unquoted numbers as keys, or no outer braces.

    The result has the line of every key.

    Raises:
        InputError: it is not a table.
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
    """Return the content of a string in single or double quotes."""
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
