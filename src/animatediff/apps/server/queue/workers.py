"""Which workers there are and what they do, as they write it into the queue's database."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass

from animatediff.apps.server.queue.database import Database


@dataclass(frozen=True)
class WorkerState:
    """One worker process.

    Attributes:
        name: of the process.
        device: where it computes.
        state: ``starting``, ``idle`` or ``busy``.
        job: the job that it makes; empty if it is idle.
        models: what it has loaded, a line each.
        alive: when it last said so, on the machine's monotonic clock.
    """

    name: str
    device: str
    state: str
    job: str = ""
    models: tuple[str, ...] = ()
    alive: float = 0.0


class Workers:
    """The table of workers in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def say(
        self, name: str, *, device: str, state: str, job: str = "", models: Sequence[str] = ()
    ) -> None:
        """Write what a worker does."""
        with self.database.changing() as db:
            db.execute(
                "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?)",
                (name, device, state, job or None, json.dumps(list(models)), time.monotonic()),
            )

    def gone(self, name: str) -> None:
        """Remove a worker from the table."""
        with self.database.changing() as db:
            db.execute("DELETE FROM workers WHERE owner = ?", (name,))

    def all(self) -> list[WorkerState]:
        """Every worker."""
        with self.database.reading() as db:
            rows = db.execute("SELECT * FROM workers ORDER BY device, owner").fetchall()
        return [
            WorkerState(
                name=row["owner"],
                device=row["device"],
                state=row["state"],
                job=row["job"] or "",
                models=tuple(json.loads(row["models"])),
                alive=row["alive"],
            )
            for row in rows
        ]
