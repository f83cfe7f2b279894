"""Claims: how workers take jobs, renew their leases, report progress and publish results.

Every claim increases the job's fence, and only the newest fence may finish the job, so that a worker
that was thought dead cannot publish a second result.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Mapping

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import (
    Failure,
    Job,
    Outcome,
    ResultFile,
    fraction_of,
    outcome_to_json,
)
from animatediff.apps.server.queue.rows import as_job, finish, holds, is_paused, requeue, tell
from animatediff.apps.server.settings import Endurance


class Claims:
    """The jobs that workers hold.

    Args:
        database: where the jobs are.
        endurance: how long leases are.
        clock: a monotonic clock that all processes of this machine share.
    """

    def __init__(
        self, database: Database, *, endurance: Endurance, clock: Callable[[], float]
    ) -> None:
        self.database = database
        self.endurance = endurance
        self._clock = clock

    def take(self, owner: str) -> Job | None:
        """Take the next job, if there is one and the queue is not paused."""
        with self.database.reading() as db:  # so that idle workers do not write
            waits = db.execute(
                "SELECT 1 FROM jobs WHERE state = 'queued' AND held = 0 LIMIT 1"
            ).fetchone()
        if waits is None:
            return None
        with self.database.changing() as db:
            if is_paused(db):
                return None
            row = db.execute(
                "UPDATE jobs SET state = 'running', owner = ?, lease = ?, fence = fence + 1, "
                "attempts = attempts + 1, started = ?, stage = 'load', step = 0, steps = 0, "
                "previewed = 0, cancelling = 0 WHERE id = (SELECT id FROM jobs WHERE state = 'queued' "
                "AND held = 0 ORDER BY priority DESC, place LIMIT 1) RETURNING *",
                (owner, self._clock() + self.endurance.lease_seconds, time.time()),
            ).fetchone()
            if row is None:
                return None
            tell(db, row["id"], "state", {})
            return as_job(row, {})

    def beat(self, job: Job) -> bool | None:
        """Renew a lease; returns whether the job was asked to stop, or ``None`` if it is lost."""
        with self.database.changing() as db:
            row = db.execute(
                "UPDATE jobs SET lease = ? WHERE id = ? AND fence = ? AND state = 'running' "
                "RETURNING cancelling",
                (self._clock() + self.endurance.lease_seconds, job.id, job.fence),
            ).fetchone()
        return None if row is None else bool(row["cancelling"])

    def progress(
        self, job: Job, *, stage: str, step: int, steps: int, preview: bytes | None = None
    ) -> bool:
        """Store how far a job is, and perhaps a contact sheet; returns whether it is still ours."""
        with self.database.changing() as db:
            row = db.execute(
                "UPDATE jobs SET stage = ?, step = ?, steps = ?, previewed = max(previewed, ?) "
                "WHERE id = ? AND fence = ? AND state = 'running' RETURNING id",
                (stage, step, steps, int(preview is not None), job.id, job.fence),
            ).fetchone()
            if row is None:
                return False
            # One row of progress for each job is enough: a client that comes late wants the newest.
            db.execute("DELETE FROM events WHERE job = ? AND kind = 'progress'", (job.id,))
            facts = {"job": job.id, "stage": stage, "step": step, "steps": steps}
            tell(db, job.id, "progress", {**facts, "fraction": fraction_of(stage, step, steps)})
            if preview is not None:
                db.execute(
                    "INSERT OR REPLACE INTO pictures VALUES (?, 'preview', ?)", (job.id, preview)
                )
                db.execute("DELETE FROM events WHERE job = ? AND kind = 'preview'", (job.id,))
                tell(db, job.id, "preview", {"job": job.id})
            return True

    def complete(
        self,
        job: Job,
        outcome: Outcome,
        *,
        thumbnail: bytes | None = None,
        suffixes: Mapping[str, str],
    ) -> bool:
        """Publish a result whose files are in the store; returns false if the job is lost.

        Args:
            job: as it was claimed.
            outcome: what it gave.
            thumbnail: a JPEG of the first frame.
            suffixes: of the files in the store, by hash.
        """
        with self.database.changing() as db:
            if not holds(db, job):
                return False
            for file in outcome.files:
                _register(db, file, suffixes[file.hash])
                db.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (job.id, file.hash))
            if thumbnail is not None:
                db.execute(
                    "INSERT OR REPLACE INTO pictures VALUES (?, 'thumbnail', ?)",
                    (job.id, thumbnail),
                )
            db.execute(
                "UPDATE jobs SET outcome = ?, thumbnail = ? WHERE id = ?",
                (outcome_to_json(outcome), int(thumbnail is not None), job.id),
            )
            finish(db, job.id, "completed")
            return True

    def fail(self, job: Job, failure: Failure) -> bool:
        """End a job with a cause; returns false if it is lost."""
        with self.database.changing() as db:
            if not holds(db, job):
                return False
            finish(db, job.id, "failed", failure)
            return True

    def stopped(self, job: Job) -> bool:
        """End a job that was asked to stop; returns false if it is lost."""
        with self.database.changing() as db:
            if not holds(db, job):
                return False
            finish(db, job.id, "cancelled")
            return True

    def give_back(self, job: Job) -> bool:
        """Queue a job again because its worker ends; that counts as no failure."""
        with self.database.changing() as db:
            if not holds(db, job):
                return False
            requeue(db, job.id)
            return True


def _register(db: sqlite3.Connection, file: ResultFile, suffix: str) -> None:
    db.execute(
        "INSERT INTO files (hash, suffix, media_type, bytes, facts, uploaded, used) "
        "VALUES (?, ?, ?, ?, '{}', 0, ?) ON CONFLICT (hash) DO UPDATE SET used = excluded.used",
        (file.hash, suffix, file.media_type, file.bytes, time.time()),
    )
