"""The queue's SQLite file: its tables, connections for each thread, and failures in one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

from animatediff.errors import FileError, OutputError

SCHEMA = 1
BUSY_SECONDS = 10.0

_TABLES = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('queued', 'running', 'completed', 'failed', 'cancelled')),
    held INTEGER NOT NULL DEFAULT 0,
    priority INTEGER NOT NULL,
    place REAL NOT NULL,
    request TEXT NOT NULL,
    formats TEXT NOT NULL,
    source TEXT NOT NULL,
    client TEXT NOT NULL,
    key TEXT,
    digest TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    interruptions INTEGER NOT NULL DEFAULT 0,
    fence INTEGER NOT NULL DEFAULT 0,
    owner TEXT,
    lease REAL,
    cancelling INTEGER NOT NULL DEFAULT 0,
    stage TEXT NOT NULL DEFAULT '',
    step INTEGER NOT NULL DEFAULT 0,
    steps INTEGER NOT NULL DEFAULT 0,
    previewed INTEGER NOT NULL DEFAULT 0,
    thumbnail INTEGER NOT NULL DEFAULT 0,
    outcome TEXT,
    failure TEXT,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    UNIQUE (client, key)
);
CREATE INDEX waiting ON jobs (priority DESC, place) WHERE state = 'queued';
CREATE INDEX running ON jobs (lease) WHERE state = 'running';
CREATE INDEX by_state ON jobs (state, id);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    job TEXT,
    kind TEXT NOT NULL,
    data TEXT NOT NULL
);
CREATE INDEX events_of ON events (job);
CREATE TABLE pictures (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (job, kind)
);
CREATE TABLE files (
    hash TEXT PRIMARY KEY,
    suffix TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    facts TEXT NOT NULL,
    uploaded INTEGER NOT NULL,
    used REAL NOT NULL
);
CREATE TABLE uses (
    job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    hash TEXT NOT NULL REFERENCES files (hash),
    PRIMARY KEY (job, hash)
);
CREATE INDEX uses_of ON uses (hash);
CREATE TABLE workers (
    owner TEXT PRIMARY KEY,
    device TEXT NOT NULL,
    state TEXT NOT NULL,
    job TEXT,
    models TEXT NOT NULL DEFAULT '[]',
    alive REAL NOT NULL
);
CREATE TABLE switches (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


class Database:
    """Connections to one SQLite file, one for each thread.

    Args:
        path: the file; it is made if it is missing.
        checked: whether its pages are looked at first, which takes a moment for a large file.

    Raises:
        FileError: it is damaged, or was written by a newer version.
        OutputError: it cannot be written.
    """

    def __init__(self, path: Path, *, checked: bool = False) -> None:
        self.path = path
        self._local = threading.local()
        if checked:
            with self.reading() as connection:
                (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                if found != "ok":
                    raise sqlite3.DatabaseError(found)
        with self.changing() as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > SCHEMA:
                raise FileError(
                    f"The queue {path.name} was written by a newer version of animatediff (form "
                    f"{version}, this one reads {SCHEMA}); update animatediff, or use another --folder."
                )
            if version == 0:
                for statement in _TABLES.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def connection(self) -> sqlite3.Connection:
        """This thread's connection.

        Raises:
            sqlite3.Error: the file cannot be opened.
        """
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=True
            )
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA journal_mode = WAL")
            # A commit that was acknowledged is on the disk.
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            self._local.connection = connection
        return connection

    @contextlib.contextmanager
    def changing(self) -> Generator[sqlite3.Connection]:
        """A transaction that waits for the right to write first; what raises is undone.

        Raises:
            OutputError: the disk is full, read-only, or locked for too long.
            FileError: the file is damaged.
        """
        with refused(self.path):
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """This thread's connection, outside of a transaction.

        Raises:
            OutputError, FileError: as for ``changing``.
        """
        with refused(self.path):
            yield self.connection()

    def close(self) -> None:
        """Close this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


@contextlib.contextmanager
def refused(path: Path) -> Generator[None]:
    """Turn SQLite's errors into sentences.

    Raises:
        OutputError: the disk is full, read-only, or locked for too long.
        FileError: the file is damaged.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OutputError(
            f"The queue {path.name} cannot be written ({error}); check the disk of the server's "
            "folder."
        ) from None
    except sqlite3.DatabaseError as error:
        raise FileError(
            f"The queue {path.name} is damaged ({error}); stop the server and move the file away. "
            "Results stay in the store."
        ) from None
