"""Folders of this machine that the page may look into, and only by the names of what they hold."""

from __future__ import annotations

from pathlib import Path

from animatediff.apps.server.answers.problems import Refused

MOST_LISTED = 500


def entries(folder: Path | None) -> list[Path]:
    """What a folder holds, by name; hidden entries and links are left out."""
    if folder is None or not folder.is_dir():
        return []
    found = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return sorted(entry for entry in found if not entry.is_symlink())[:MOST_LISTED]


def entry_named(folder: Path | None, name: str, *, what: str) -> Path:
    """The entry of that name; a client's text is compared, and never becomes a path.

    Raises:
        Refused: there is none.
    """
    for entry in entries(folder):
        if entry.name == name:
            return entry
    raise Refused(404, f"There is no such {what}.")
