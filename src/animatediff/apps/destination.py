"""Where results go: decided and tested before anything is loaded."""

from __future__ import annotations

import contextlib
import itertools
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from animatediff.config import nearest
from animatediff.errors import InputError, OutputError, reason_of

MIN_FREE_BYTES = 32 << 20
GRID = "animatediff-grid"
"""The metadata entry of a grid: several animations side by side, with these requests."""


def labels_of(seeds: Sequence[int]) -> list[str]:
    """Return what distinguishes the files of several animations: their seeds, or numbers from 1."""
    if len(set(seeds)) == len(seeds):
        return [str(seed) for seed in seeds]
    return [str(number) for number in range(1, len(seeds) + 1)]


@dataclass(frozen=True)
class Destination:
    """A file name without its suffix, and the formats to write.

    Attributes:
        folder: an existing folder.
        stem: the common start of every file name.
        formats: the suffixes, without the dot; the first is the main one.
    """

    folder: Path
    stem: str
    formats: tuple[str, ...]

    def paths(self, *, label: str = "") -> tuple[Path, ...]:
        """Return the file of each format; ``label`` distinguishes several results of one command."""
        stem = f"{self.stem}-{label}" if label else self.stem
        return tuple(self.folder / f"{stem}.{suffix}" for suffix in self.formats)

    def check(
        self,
        *,
        labels: Sequence[str] = ("",),
        frames: int | None = None,
        spared: Sequence[Path] = (),
    ) -> None:
        """Find out, by writing, that the folder takes files, and under these names.

        Args:
            labels: distinguish the files that will be written.
            frames: how many frames each will have; ``None`` if that is not known yet.
            spared: what the command reads, and must not replace.

        Raises:
            OutputError: the folder is missing, is not a folder, cannot be written, or is full; or
                a name cannot be used.
        """
        from animatediff.video import check_target

        if not self.folder.is_dir():
            raise OutputError(f"There is no folder {self.folder}; create it or choose another.")
        try:
            _check_takes_files(self.folder)
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            reason = reason_of(error)
            raise OutputError(
                f"The folder {self.folder} cannot be written ({reason}); choose another."
            ) from None
        if free < MIN_FREE_BYTES:
            raise OutputError(
                f"The disk of {self.folder} is full ({free >> 20} MiB free, "
                f"{MIN_FREE_BYTES >> 20} MiB needed); free some or choose another folder."
            )
        paths = [path for label in labels for path in self.paths(label=label)]
        for kind, path in ((path.suffix[1:], path) for path in paths):
            check_target(path, kind=kind, count=2 if frames is None else frames)
            check_spared(path, spared)


def check_spared(path: Path, spared: Sequence[Path]) -> None:
    """Refuse to write over what is read.

    Raises:
        OutputError: the file is one of those that are read.
    """
    if path.exists() and any(each.exists() and path.samefile(each) for each in spared):
        raise OutputError(
            f"{_short(path)} is read by this command and would be replaced; choose another name."
        )


def _check_takes_files(folder: Path) -> None:
    """Write a block to a file without a name, of which a killed process leaves nothing.

    Raises:
        OSError: the folder is read-only or full.
    """
    with tempfile.TemporaryFile(dir=folder) as probe:
        probe.write(b"\0" * 4096)
        probe.flush()


def check_writable(path: Path, *, option: str) -> None:
    """Find out, by writing, that a file can be written besides the results, and replaced later.

    Args:
        path: the file.
        option: the option that names it, for the message.

    Raises:
        OutputError: it cannot; the message names the option.
    """
    try:
        if path.is_dir():
            raise OutputError(f"{option} {path} is a folder; give the name of a file.")
        if not path.parent.is_dir():
            raise OutputError(f"There is no folder {path.parent} for {option}; create it.")
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # raises if no file can have this name
        _check_takes_files(path.parent)
    except OutputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise OutputError(
            f"{option} {_short(path)} cannot be written ({reason}); choose another place."
        ) from None


def check_room(path: Path, *, option: str) -> None:
    """Find out, by writing, that something can be made at a place whose folders may not exist yet.

    Args:
        path: the file or folder that will be made.
        option: the option that names it, for the message.

    Raises:
        OutputError: a file is in the way, or the first folder that exists takes no files.
    """
    try:
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not folder.is_dir():
            raise OutputError(f"{option} {path} cannot be made: {folder} is a file.")
        in_place = path.is_dir()
    except OutputError:
        raise
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise OutputError(f"{option} {_short(path)} cannot be made ({reason}).") from None
    if not in_place:
        check_writable(folder / path.name, option=option)


def _short(path: Path) -> str:
    text = str(path)
    return text if len(text) <= 120 else f"{text[:117]}..."


def plan_destination(
    output: Path | None,
    *,
    formats: str | None,
    known: Sequence[str],
    name: str,
    labels: Sequence[str] = ("",),
    folder: Path | None = None,
) -> Destination:
    """Combine ``-o`` and ``--format``.

    Args:
        output: the requested file; its suffix is the format unless ``formats`` is given.
        formats: a comma-separated list, or nothing.
        known: every supported format.
        name: the name without ``output``; a number is added if the file exists.
        labels: what distinguishes the files that will be written.
        folder: where they go without ``output``; by default the current one.

    Raises:
        InputError: a format is unknown, or ``output`` has no suffix and no format is given.
        OutputError: ``output`` is not a name that a file can have.
    """
    from animatediff.video import ALIASES

    words = [part.strip().lower().lstrip(".") for part in (formats or "").split(",") if part]
    asked = tuple(ALIASES.get(word, word) for word in words)
    suffix = _suffix_of(output, known) if output else ""
    if not asked and output and not suffix:
        raise InputError(
            f"{output} has no suffix that says its format; end it in .mp4 or use --format."
        )
    chosen = tuple(dict.fromkeys(asked or (suffix or known[0],)))
    for one in chosen:
        if one not in known:
            close = nearest(one, known)
            remedy = f"did you mean {close}?" if close else f"it is one of {', '.join(known)}."
            raise InputError(f"{one!r} is not a supported format; {remedy}")
    if output is None:
        return _unused(name, folder=folder or Path(), formats=chosen, labels=labels)
    stem = output.name[: -len(suffix) - 1] if suffix in known else output.name
    try:
        is_folder = output.is_dir()
    except OSError as error:
        raise OutputError(f"{_short(output)} cannot be written ({reason_of(error)}).") from None
    if not stem or is_folder:
        raise InputError(f"{output} is a folder; give a file name, such as {output / 'fox.mp4'}.")
    return Destination(output.parent, stem, chosen)


def _suffix_of(output: Path, known: Sequence[str]) -> str:
    """The longest known format that a name ends in; otherwise what follows its last dot."""
    name = output.name.lower()
    ends = [one for one in known if name.endswith(f".{one}")]
    return max(ends, key=len, default=output.suffix.lstrip(".").lower())


def slug(text: str, *, length: int = 40) -> str:
    """Turn a prompt into a file name that every system accepts: letters, digits and hyphens."""
    words = re.findall(r"\w+", text.lower().replace("_", " "))
    short = ""
    for word in words:
        longer = f"{short}-{word}" if short else word[:length]
        if len(longer.encode()) > 3 * length or len(longer) > length:
            break
        short = longer
    return short or "animation"


def _unused(
    name: str, *, folder: Path, formats: tuple[str, ...], labels: Sequence[str]
) -> Destination:
    """Return the first of name, name-2, name-3 ... that does not exist yet."""
    stems = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    candidates = (Destination(folder, stem, formats) for stem in stems)
    return next(
        candidate
        for candidate in candidates
        if not any(path.exists() for label in labels for path in candidate.paths(label=label))
    )
