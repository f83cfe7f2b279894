"""Check a file for completeness: missing tensors are an error, a few unknown ones a note.

Programs add small things of their own to files (a step counter, a mask, a trainer's marker), which
do no harm. Many unknown tensors mean that the file is a different model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from animatediff.errors import FileError
from animatediff.weights.storage.files import Header, shown

MOST_NAMED = 5
"""How many tensor names an error lists; the others are counted."""
MOST_UNKNOWN = 0.1
"""The share of a file's tensors that may be unknown."""


def check_fit(
    header: Header, wanted: Mapping[str, tuple[int, ...]], *, role: str
) -> tuple[str, ...]:
    """Compare a file's names and shapes with the required ones.

    Returns:
        A note about unknown tensors, if there are a few.

    Raises:
        FileError: a name is missing, a shape differs, or over a tenth of the file is unknown.
    """
    missing = [name for name in wanted if name not in header.shapes]
    differing = [
        f"{name} is {_times(header.shapes[name])} instead of {_times(shape)}"
        for name, shape in wanted.items()
        if name in header.shapes and header.shapes[name] != shape
    ]
    unknown = [name for name in header.shapes if name not in wanted]
    complaints = [
        f"{what} {counted(names)}"
        for what, names in (
            ("lacks", missing),
            ("differs in shape in", differing),
            ("has the unknown", unknown),
        )
        if names
    ]
    if missing or differing:
        raise FileError(f"{header.path} is not {role}: it {'; it '.join(complaints)}.")
    return check_unknown(header.path, unknown, of=len(header.shapes), role=role)


def check_unknown(path: Path, unknown: Sequence[str], *, of: int, role: str) -> tuple[str, ...]:
    """Describe the tensors that are left out of a file, unless there are too many.

    Args:
        path: the file.
        unknown: names of unknown tensors.
        of: the total number of tensors, including unknown ones.
        role: what the file should be, such as ``a motion module``.

    Returns:
        A note, if there are any.

    Raises:
        FileError: over a tenth of the tensors are unknown.
    """
    if not unknown:
        return ()
    if len(unknown) > MOST_UNKNOWN * of:
        raise FileError(f"{path} is not {role}: it has the unknown {counted(unknown)}.")
    return (
        f"{path.name} also has {counted(unknown)}, which {role} does not use and which "
        f"{'was' if len(unknown) == 1 else 'were'} left out.",
    )


def counted(names: Sequence[str]) -> str:
    """Return the number of tensors and the first five names."""
    listed = ", ".join(map(shown, names[:MOST_NAMED]))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{len(names)} tensor{'' if len(names) == 1 else 's'} ({listed}{more})"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
