"""Recovery: what the supervisor does for jobs whose worker is gone, and the removal of old jobs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import Failure, Job
from animatediff.apps.server.queue.rows import as_job, finish, forget, requeue
from animatediff.apps.server.settings import Endurance

EVENTS_KEPT = 3600.0
"""Seconds for which events can be read again."""


class Recovery:
    """Jobs that were interrupted, and jobs that are old.

    Args:
        database: where the jobs are.
        endurance: how often a job is tried.
        clock: a monotonic clock that all processes of this machine share.
    """

    def __init__(
        self, database: Database, *, endurance: Endurance, clock: Callable[[], float]
    ) -> None:
        self.database = database
        self.endurance = endurance
        self._clock = clock

    def crashed(self, owner: str, cause: str) -> list[Job]:
        """Take back the jobs of a worker that ended; one that did so too often is failed."""
        with self.database.changing() as db:
            rows = db.execute(
                "SELECT * FROM jobs WHERE state = 'running' AND owner = ?", (owner,)
            ).fetchall()
            for row in rows:
                self._count_crash(db, row, cause)
            return [as_job(row, {}) for row in rows]

    def expired(self) -> list[tuple[str, str]]:
        """The running jobs whose worker is silent: each id and its worker."""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT id, owner FROM jobs WHERE state = 'running' AND lease < ?", (self._clock(),)
            ).fetchall()
        return [(row["id"], row["owner"]) for row in rows]

    def interrupted(self) -> int:
        """Take back every running job, as the service that ran them ended; returns how many.

        Only for a service that just began and knows that no other has this queue.
        """
        with self.database.changing() as db:
            rows = db.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
            for row in rows:
                count = row["interruptions"] + 1
                db.execute("UPDATE jobs SET interruptions = ? WHERE id = ?", (count, row["id"]))
                if row["cancelling"]:
                    finish(db, row["id"], "cancelled")
                elif count >= self.endurance.interruptions:
                    detail = f"The whole server ended {count} times while this job ran."
                    finish(db, row["id"], "failed", Failure("The server ended", detail))
                else:
                    requeue(db, row["id"])
            db.execute("DELETE FROM workers")
            return len(rows)

    def prune(self, *, keep_seconds: float) -> int:
        """Forget old finished jobs and old events; returns how many jobs."""
        now = time.time()
        with self.database.changing() as db:
            db.execute("DELETE FROM events WHERE at < ?", (now - EVENTS_KEPT,))
            rows = db.execute(
                "SELECT id FROM jobs WHERE finished < ? LIMIT 1000", (now - keep_seconds,)
            ).fetchall()
            for row in rows:
                forget(db, row["id"])
            return len(rows)

    def oldest_finished(self) -> str | None:
        """The finished job that ended first and still has files in the store."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT id FROM jobs WHERE finished IS NOT NULL AND id IN (SELECT job FROM uses) "
                "ORDER BY finished LIMIT 1"
            ).fetchone()
        return None if row is None else row["id"]

    def _count_crash(self, db: sqlite3.Connection, row: sqlite3.Row, cause: str) -> None:
        count = row["crashes"] + 1
        db.execute("UPDATE jobs SET crashes = ? WHERE id = ?", (count, row["id"]))
        if row["cancelling"]:
            finish(db, row["id"], "cancelled")
        elif count >= self.endurance.crashes:
            times = "once" if count == 1 else "twice" if count == 2 else f"{count} times"
            detail = f"The job ended its worker process {times}: {cause}."
            finish(db, row["id"], "failed", Failure("The worker crashed", detail))
        else:
            requeue(db, row["id"])
