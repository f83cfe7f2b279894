"""The store: files by their SHA-256, written whole or not at all, within a quota.

A client knows a file only by its hash. The hash is looked up in the database, and only the database
leads to a path, so that no text of a client ever becomes one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.jobs import Conflict
from animatediff.errors import OutputError, reason_of

_YOUNG_SECONDS = 60.0
"""A file that is younger is never deleted: a worker may have put it there and not yet said so."""
_STRAY_SECONDS = 3600.0
"""A file that no row knows is deleted at this age; a younger one may be about to be registered."""


@dataclass(frozen=True)
class Stored:
    """One file in the store.

    Attributes:
        hash: its SHA-256.
        path: where it is.
        media_type: for clients.
        bytes: its size.
        facts: what is known of an upload.
        uploaded: whether a client sent it.
    """

    hash: str
    path: Path
    media_type: str
    bytes: int
    facts: Mapping[str, Any]
    uploaded: bool


def is_hash(text: str) -> bool:
    """Whether a text can be a SHA-256 in hexadecimal."""
    return re.fullmatch(r"[0-9a-f]{64}", text) is not None


class Store:
    """Files by hash, in a folder and a table.

    Args:
        folder: where the files are; it is made if it is missing.
        database: has the table.
        quota: the most bytes of all files together.

    Raises:
        OutputError: the folder cannot be made.
    """

    def __init__(self, folder: Path, database: Database, *, quota: int) -> None:
        self.folder = folder
        self.database = database
        self.quota = quota
        try:
            (folder / "new").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The store {folder.name} cannot be made: {reason_of(error)}."
            ) from None

    def find(self, digest: str) -> Stored | None:
        """The file of that hash, if there is one."""
        if not is_hash(digest):
            return None
        with self.database.reading() as db:
            row = db.execute("SELECT * FROM files WHERE hash = ?", (digest,)).fetchone()
        if row is None:
            return None
        path = self.path(digest, row["suffix"])
        if not path.is_file():
            return None
        return Stored(
            hash=digest,
            path=path,
            media_type=row["media_type"],
            bytes=row["bytes"],
            facts=json.loads(row["facts"]),
            uploaded=bool(row["uploaded"]),
        )

    def path(self, digest: str, suffix: str) -> Path:
        """Where a file of that hash is."""
        assert is_hash(digest)
        return self.folder / digest[:2] / f"{digest}{suffix}"

    @contextlib.contextmanager
    def temporary(self, suffix: str = "") -> Generator[Path]:
        """A name for a new file in the store's folder; what is left there in the end is deleted."""
        path = self.folder / "new" / f"{os.getpid()}-{secrets.token_hex(8)}{suffix}"
        try:
            yield path
        finally:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def take(self, path: Path, *, suffix: str) -> tuple[str, int]:
        """Move a finished file to its place; returns its hash and its size.

        Raises:
            OutputError: the disk is full or read-only.
        """
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            target = self.path(digest, suffix)
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
            sync_folder(target.parent)
        except OSError as error:
            raise OutputError(
                f"The store cannot be written ({reason_of(error)}); free some space."
            ) from None
        return digest, size

    def register_upload(
        self, digest: str, *, suffix: str, media_type: str, size: int, facts: Mapping[str, Any]
    ) -> None:
        """Add an upload, whose file is in its place, to the table."""
        with self.database.changing() as db:
            db.execute(
                "INSERT INTO files (hash, suffix, media_type, bytes, facts, uploaded, used) "
                "VALUES (?, ?, ?, ?, ?, 1, ?) ON CONFLICT (hash) DO UPDATE SET "
                "used = excluded.used, uploaded = 1, facts = excluded.facts",
                (digest, suffix, media_type, size, json.dumps(dict(facts)), time.time()),
            )

    def bytes_used(self) -> int:
        """The size of all files together, by the table."""
        with self.database.reading() as db:
            (total,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM files").fetchone()
        return total

    def has_room(self, size: int) -> bool:
        """Whether a file of that size fits into the quota."""
        return self.bytes_used() + size <= self.quota

    def expire(self, *, keep_seconds: float) -> int:
        """Delete files that no job uses: results at once, uploads at an age; returns how many."""
        before = time.time() - keep_seconds
        with self.database.changing() as db:
            rows = db.execute(
                "SELECT hash, suffix FROM files WHERE hash NOT IN (SELECT hash FROM uses) "
                "AND (uploaded = 0 OR used < ?) LIMIT 1000",
                (before,),
            ).fetchall()
            return sum(self._drop(db, row) for row in rows)

    def make_room(self, *, most: float, unused_seconds: float) -> int:
        """Delete uploads that no job uses, the oldest first, while the store is too full.

        Args:
            most: bytes that all files together may have.
            unused_seconds: only uploads that are older are deleted.

        Returns:
            How many were deleted.
        """
        before, removed = time.time() - unused_seconds, 0
        with self.database.changing() as db:
            (total,) = db.execute("SELECT coalesce(sum(bytes), 0) FROM files").fetchone()
            rows = db.execute(
                "SELECT hash, suffix, bytes FROM files WHERE uploaded = 1 AND used < ? "
                "AND hash NOT IN (SELECT hash FROM uses) ORDER BY used LIMIT 1000",
                (before,),
            ).fetchall()
            for row in rows:
                if total <= most:
                    break
                if self._drop(db, row):
                    total -= row["bytes"]
                    removed += 1
        return removed

    def remove_upload(self, digest: str) -> None:
        """Delete an upload that no job uses.

        Raises:
            Conflict: a job uses it.
            KeyError: there is no such upload.
        """
        with self.database.changing() as db:
            row = db.execute(
                "SELECT hash, suffix FROM files WHERE hash = ? AND uploaded = 1", (digest,)
            ).fetchone()
            if row is None:
                raise KeyError(digest)
            if db.execute("SELECT 1 FROM uses WHERE hash = ?", (digest,)).fetchone():
                raise Conflict("A job uses the upload; delete the job first.")
            if not self._drop(db, row):
                # It may be uploaded again at this moment; the sweep finds the file later.
                db.execute("DELETE FROM files WHERE hash = ?", (digest,))

    def _drop(self, db: sqlite3.Connection, row: sqlite3.Row) -> bool:
        """Delete one file and its row, unless it is too young; returns whether it is gone."""
        path = self.path(row["hash"], row["suffix"])
        with contextlib.suppress(OSError):
            if path.exists() and path.stat().st_mtime > time.time() - _YOUNG_SECONDS:
                return False
            path.unlink(missing_ok=True)
        db.execute("DELETE FROM files WHERE hash = ?", (row["hash"],))
        return True

    def sweep(self) -> int:
        """Delete files that no row knows, which a kill between two steps leaves; returns how many."""
        before, removed = time.time() - _STRAY_SECONDS, 0
        with self.database.reading() as db:
            known = {row["hash"] for row in db.execute("SELECT hash FROM files")}
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(OSError):
                if path.name[:64] not in known and path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed


def sync_folder(folder: Path) -> None:
    """Write a folder's names to the disk, so that a renamed file is there after a power cut."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def writing(path: Path) -> Generator[IO[bytes]]:
    """Open a new file of the store.

    Raises:
        OutputError: the disk is full or read-only, when it is opened, written or closed.
    """
    try:
        with path.open("wb") as file:
            yield file
    except OSError as error:
        raise OutputError(
            f"The store cannot be written ({reason_of(error)}); free some space."
        ) from None
