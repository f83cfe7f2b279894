"""Identify a file: its kind, family and version, from the names and shapes of its tensors.

Nothing is loaded. A safetensors header is read here, a pickle's table by the confined child, and a
folder by its configuration. If two published files cannot be told apart, the result says so.
"""

from __future__ import annotations

from pathlib import Path

from animatediff.errors import FileError
from animatediff.weights.inspection.folders import inspect_folder
from animatediff.weights.inspection.headers import inspect_file, inspect_header
from animatediff.weights.inspection.kinds import BASE_TITLES, KINDS, Kind
from animatediff.weights.inspection.result import Inspection

__all__ = ["Inspection", "check_kind", "inspect", "inspect_header", "wanted"]


def inspect(path: Path) -> Inspection:
    """Identify a file or folder by its content, never by its name.

    Raises:
        FileError: it is missing, broken, or not a weight file.
    """
    return inspect_folder(path) if path.is_dir() else inspect_file(path)


def wanted(path: Path, kind: Kind, *, base: str = "") -> Inspection:
    """Check that a file is of the wanted kind, without reading anything large.

    Args:
        path: a file or folder.
        kind: the role that it is used for.
        base: the image model that it must fit, if known.

    Raises:
        FileError: it is missing, broken, of another kind, or for another image model; the sentence
            says what it is, what was needed, and what to do.
    """
    found = inspect(path)
    check_kind(found, kind, base=base)
    return found


def check_kind(found: Inspection, kind: Kind, *, base: str = "") -> None:
    """Compare an identified file with the wanted kind, as ``wanted`` does.

    Raises:
        FileError: it is of another kind, or for another image model.
    """
    facts, needed = KINDS[found.kind], KINDS[kind]
    place = f"{needed.option} needs" if needed.option else "what is needed is"
    if kind not in (found.kind, *found.alternatives):
        if found.kind == "unknown":
            remedy = "check that it is the right file"
        elif found.kind == "other":
            remedy = "it cannot be used here"
        else:
            remedy = facts.use
        raise FileError(f"{found.path} is {found.title}; {place} {needed.title}: {remedy}.")
    if base and found.base and found.base != base:
        title = BASE_TITLES.get(base, base)
        raise FileError(
            f"{found.path} is {found.title}; the image model here is {title}: choose "
            f"{needed.title} for it, or an image model that fits."
        )
