"""A plan: which request becomes which files of a folder, what is done already, and how to write one.

A plan needs no model and no torch. A file carries the hash of the request that it was made from, and
files are written under a temporary name and then renamed, so that a file under its own name is whole.
Whoever draws asks ``pending()``, draws, and calls ``publish()``; after any interruption the same plan
resumes where it stopped. ``locked()`` keeps a second process out of the folder.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from animatediff.apps.many.entries import Entry
from animatediff.apps.naming import check_template, hash_of, named
from animatediff.errors import FileError, InputError, OutputError, reason_of
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video, check_target, read_metadata

MARK = "animatediff-batch"
"""The metadata entry with the hash of the request that a file was made from."""
LOCK = ".animatediff-batch.lock"
TEMPORARY = ".animatediff-*.tmp"


@dataclass(frozen=True)
class Item:
    """One request of a plan, and its files.

    Attributes:
        number: its place, from 1.
        request: as it was asked for.
        key: the hash of the request.
        stem: the name of its files, without a suffix.
        formats: their suffixes.
        source: where the request stands, for messages.
    """

    number: int
    request: AnimationRequest
    key: str
    stem: str
    formats: tuple[str, ...]
    source: str

    @property
    def names(self) -> tuple[str, ...]:
        """What its files are called; several PNGs are a folder."""
        return tuple(f"{self.stem}.{suffix}" for suffix in self.formats)


@dataclass(frozen=True)
class Plan:
    """Requests, and the folder that their files go to.

    Attributes:
        folder: an existing folder.
        items: the requests, in order; no two have the same files.
        repeated: how many requests of the file were equal to another and left out.
    """

    folder: Path
    items: tuple[Item, ...]
    repeated: int = 0

    def file(self, item: Item, name: str) -> Path:
        """Where a file of an item is, or will be."""
        path = self.folder / name
        folder = path.with_suffix("")
        return folder if path.suffix in (".png", ".png16") and folder.is_dir() else path

    def is_done(self, item: Item) -> bool:
        """Whether all files of an item are there, made from this very request."""
        return all(self._has(item, name) for name in item.names)

    def pending(self) -> list[Item]:
        """The items that are not done, in order."""
        return [item for item in self.items if not self.is_done(item)]

    def publish(self, item: Item, video: Video, *, metadata: Mapping[str, str]) -> list[Path]:
        """Write the files of an item that are not there yet; each is whole or absent.

        Raises:
            OutputError: the folder cannot be written or is full.
        """
        facts = {**metadata, MARK: item.key}
        return [
            video.save(self.folder / name, metadata=facts)
            for name in item.names
            if not self._has(item, name)
        ]

    def check(self) -> None:
        """Raise early if a file of some pending item cannot be written.

        Raises:
            OutputError: a name cannot be used, or something else is there.
        """
        for item in self.items:
            for name in item.names:
                path = self.file(item, name)
                if path.exists() and not self._has(item, name):
                    raise OutputError(
                        f"{path} is there already and was not made from {item.source}; move it away, "
                        "or choose another folder or --name."
                    )
                if not path.exists():
                    frames = item.request.num_frames or 2
                    check_target(self.folder / name, kind=path.suffix[1:], count=frames)

    @contextlib.contextmanager
    def locked(self) -> Generator[None]:
        """Hold the folder for this process, and remove what an interrupted one left unfinished.

        Raises:
            OutputError: another process holds it, or it cannot be written.
        """
        lock = self.folder / LOCK
        try:
            handle = lock.open("a")
        except OSError as error:
            raise OutputError(f"{lock} cannot be written: {reason_of(error)}.") from None
        with handle:
            try:
                _lock(handle)
            except OSError:
                raise OutputError(
                    f"Another batch is writing to {self.folder}; wait for it, or choose another folder."
                ) from None
            for path in self.folder.glob(TEMPORARY):
                _remove(path)
            yield

    def _has(self, item: Item, name: str) -> bool:
        path = self.file(item, name)
        if not path.exists():
            return False
        try:
            return read_metadata(path).get(MARK) == item.key
        except FileError:
            return False


def plan_batch(
    entries: Sequence[Entry], *, folder: Path, formats: Sequence[str], template: str
) -> Plan:
    """Decide the files of every request; equal requests are drawn once.

    Args:
        entries: the requests.
        folder: where files go.
        formats: for entries that say none.
        template: of names, for entries that say none (``naming.py``).

    Raises:
        InputError: two different requests would have the same file, or a name cannot be one.
    """
    items: list[Item] = []
    owners: dict[str, Item] = {}
    repeated = 0
    for each in {template, *(entry.name for entry in entries if entry.name)}:
        check_template(each, option="The name", lasting=True)
    for number, entry in enumerate(entries, start=1):
        key = hash_of(entry.request)
        stem = named(entry.name or template, entry.request, number=number, key=key)
        item = Item(number, entry.request, key, stem, entry.formats or tuple(formats), entry.source)
        taken = {name: owners[name] for name in item.names if name in owners}
        other = next((o for o in taken.values() if o.key != key), None)
        if other is not None:
            raise InputError(
                f"{entry.source} and {other.source} would both be written to {next(iter(taken))}; "
                "add {hash} or {number} to the name."
            )
        if len(taken) == len(item.names):
            repeated += 1
            continue
        owners |= dict.fromkeys(item.names, item)
        items.append(item)
    return Plan(folder, tuple(items), repeated)


def _lock(handle: IO[str]) -> None:
    """Lock an open file until it is closed, without waiting.

    Raises:
        OSError: another process has locked it.
    """
    if os.name == "nt":
        windows: Any = importlib.import_module("msvcrt")
        windows.locking(handle.fileno(), windows.LK_NBLCK, 1)
    else:
        unix: Any = importlib.import_module("fcntl")
        unix.flock(handle, unix.LOCK_EX | unix.LOCK_NB)


def _remove(path: Path) -> None:
    """Remove an unfinished file, or a folder of frames."""
    if path.is_dir():
        for child in path.iterdir():
            child.unlink()
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
