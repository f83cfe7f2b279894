"""Whether a file has what is needed: what is missing refuses, the little that is too much is said.

Programs leave small things of their own in files (a step counter, a mask, a trainer's marker), which
harm nobody. Many unknown tensors are another model, whatever else fits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from animatediff.errors import FileError
from animatediff.weights.storage.files import Header, shown

MOST_NAMED = 5
"""Of the tensors that a sentence is about; the others are counted."""
MOST_UNKNOWN = 0.1
"""Of a file's tensors, the part that may be unknown."""


def check_fit(
    header: Header, wanted: Mapping[str, tuple[int, ...]], *, role: str
) -> tuple[str, ...]:
    """Compare a file's names and shapes with those that are needed.

    Returns:
        A sentence on the tensors that are too many, if there are a few.

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
    """Say what is left out of a file, unless it is too much to be left out.

    Args:
        path: the file.
        unknown: the tensors that nothing is known of.
        of: how many tensors count, these included.
        role: what the file is taken for, such as ``a motion module``.

    Returns:
        A sentence, if there are any.

    Raises:
        FileError: they are over a tenth.
    """
    if not unknown:
        return ()
    if len(unknown) > MOST_UNKNOWN * of:
        raise FileError(f"{path} is not {role}: it has the unknown {counted(unknown)}.")
    return (
        f"{path.name} also has {counted(unknown)}, which {role} has no use for and which "
        f"{'was' if len(unknown) == 1 else 'were'} left out.",
    )


def counted(names: Sequence[str]) -> str:
    """How many tensors, and the first five by name."""
    listed = ", ".join(map(shown, names[:MOST_NAMED]))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{len(names)} tensor{'' if len(names) == 1 else 's'} ({listed}{more})"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "a single number"
