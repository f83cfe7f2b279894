"""Write samples into shards: tar files that are complete or absent."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from animatediff.errors import FileError, OutputError, reason_of

MAX_SHARD_BYTES = 512 << 20
FLUSH_SECONDS = 300.0
"""A shard is closed after this many seconds, to limit the loss by a kill."""


class ShardWriter:
    """Collects samples into shards, each of which is complete or absent."""

    def __init__(self, folder: Path, per_shard: int) -> None:
        self._folder, self._per_shard = folder, per_shard
        self._pending: list[tuple[str, bytes]] = []
        self._keys: set[str] = set()
        self._since = time.monotonic()

    def add(self, key: str, members: Mapping[str, bytes]) -> None:
        """Add a sample's files, by suffix, to the next shard."""
        self._pending += [(f"{key}.{suffix}", content) for suffix, content in members.items()]
        self._keys.add(key)
        size = sum(len(content) for _, content in self._pending)
        late = time.monotonic() - self._since > FLUSH_SECONDS
        if len(self._keys) >= self._per_shard or size > MAX_SHARD_BYTES or late:
            self.close()

    def close(self) -> None:
        """Write the collected samples."""
        if self._pending:
            numbers = (int(p.stem) for p in shards_in(self._folder) if p.stem.isdigit())
            number = max(numbers, default=-1) + 1
            write_tar(self._folder / f"{number:05d}.tar", self._pending)
        self._pending, self._keys, self._since = [], set(), time.monotonic()


def shards_in(folder: Path) -> list[Path]:
    """Return the shards of a build."""
    return sorted(folder.glob("*.tar"))


def keep_only(wanted: set[str], folder: Path) -> tuple[set[str], int]:
    """Return the existing samples that are still wanted, and remove the others."""
    there: set[str] = set()
    dropped: set[str] = set()
    for shard in shards_in(folder):
        try:
            with tarfile.open(shard, "r:") as tar:
                names = tar.getnames()
                keys = {name.partition(".")[0] for name in names}
                if keys <= wanted:
                    there |= keys
                    continue
                kept = [
                    (member.name, stream.read())
                    for member in tar
                    if member.name.partition(".")[0] in wanted
                    and (stream := tar.extractfile(member)) is not None
                ]
        except (OSError, tarfile.TarError) as error:
            raise FileError(f"{shard} is broken ({error}); delete it and build again.") from None
        there |= keys & wanted
        dropped |= keys - wanted
        if kept:
            write_tar(shard, kept)
        else:
            shard.unlink()
    return there, len(dropped)


def write_tar(path: Path, members: Sequence[tuple[str, bytes]]) -> None:
    """Write files under one name, completely or not at all.

    Raises:
        OutputError: they cannot be written.
    """
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    write_whole(path, file.getbuffer())


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Rename a file after it is complete and on the disk."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise unwritable(path, error) from None


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error for a shard that cannot be written."""
    reason = reason_of(error)
    return OutputError(
        f"{path} cannot be written ({reason}); free some space or choose another folder."
    )
