"""``animatediff inspect FILE...``: what files are, why, what they fit, and the option for each."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from tyro.conf import FlagCreatePairsOff, Positional, arg

from animatediff.errors import FileError, InputError

if TYPE_CHECKING:
    from animatediff.weights.inspect import Inspection

WIDTH = 100
_STORED = {"safetensors": "of safetensors", "pickle": "in a pickle", "folder": "in a folder"}


@dataclass(frozen=True)
class InspectOptions:
    """Options of ``animatediff inspect``."""

    files: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE [FILE ...]")]
    """Weight files of any kind, safetensors or pickles, or diffusers folders."""
    json: FlagCreatePairsOff[bool] = False
    """Print one JSON array with an object for each file."""


def inspect(options: InspectOptions) -> int:
    """Print what every file is; returns 0 if all could be read, 3 otherwise.

    Raises:
        InputError: no file is given.
    """
    if not options.files:
        raise InputError("inspect needs a file or folder; name one or more.")
    found = [(path, _looked_at(path)) for path in options.files]
    if options.json:
        print(json.dumps([_as_json(path, result) for path, result in found], indent=2))
    else:
        for path, result in found:
            print(path)
            for line in _lines(result):
                print(line)
    return FileError.exit_code if any(isinstance(r, FileError) for _, r in found) else 0


def _looked_at(path: Path) -> Inspection | FileError:
    from animatediff.weights.inspect import inspect as look_at

    try:
        return look_at(path.expanduser())
    except FileError as error:
        print(f"animatediff: {error}", file=sys.stderr)
        return error


def _lines(found: Inspection | FileError) -> Iterator[str]:
    if isinstance(found, FileError):
        yield from _wrapped("broken", str(found))
        return
    yield from _wrapped("is", found.title)
    yield from _wrapped("because", "; ".join(found.reasons))
    yield from _wrapped("holds", ", ".join(_content(found)))
    yield from _wrapped("use", what_to_do(found))
    for warning in found.warnings:
        yield from _wrapped("beware", warning)


def _wrapped(topic: str, text: str) -> Iterator[str]:
    # File names and metadata may contain anything; print only what a terminal can show.
    printable = "".join(c if c.isprintable() else "?" for c in text)
    first, rest = f"  {topic:<8} ", " " * 11
    yield from textwrap.wrap(printable, WIDTH, initial_indent=first, subsequent_indent=rest)


def _content(found: Inspection) -> Iterator[str]:
    yield f"{found.num_tensors:,} tensor{'' if found.num_tensors == 1 else 's'}"
    yield f"{found.parameters:,} parameters"
    if found.dtypes:
        yield " and ".join(found.dtypes)
    yield f"{found.num_bytes / 1e6:,.1f} MB {_STORED[found.container]}"
    if found.ranks:
        ranks = "/".join(map(str, found.ranks[:8]))
        yield f"rank{'s' if len(found.ranks) > 1 else ''} {ranks}"
    if found.layout:
        yield f"names: {found.layout}"


def what_to_do(found: Inspection) -> str:
    """Return which option takes the file, or why none does."""
    from animatediff.weights.inspection.kinds import KINDS

    refusal = found.refusal
    if refusal:
        return f"not supported yet: {refusal}"
    if found.kind in ("other", "unknown"):
        return "it cannot be used here"
    uses = [KINDS[kind].use for kind in (found.kind, *found.alternatives)]
    use = ", or ".join(dict.fromkeys(uses))
    if found.container == "pickle" and KINDS[found.kind].option:
        return f"convert it to safetensors with animatediff convert, then {use}"
    return use


def _as_json(path: Path, found: Inspection | FileError) -> dict[str, Any]:
    if isinstance(found, FileError):
        return {"path": str(path), "error": str(found)}
    table = asdict(found) | {"path": str(path)}
    shown = {"title": found.title, "holds": list(_content(found)), "use": what_to_do(found)}
    return {**table, **shown}
