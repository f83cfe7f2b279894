"""The queue: jobs in SQLite with priorities, leases and fences, so that none is lost or done twice.

A worker *claims* a job and holds it by a lease that it renews. If it falls silent, the job goes back.
Every claim increases the job's fence, and only the newest fence may finish the job, so that a worker
that was thought dead cannot publish a second result. Times of leases are of the machine's monotonic
clock, which no change of the date moves; a restart of the service ends all leases.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import (
    FINISHED,
    Failure,
    Job,
    Order,
    Outcome,
    ResultFile,
    is_id,
    new_id,
    outcome_from_json,
    outcome_to_json,
)
from animatediff.apps.server.settings import Endurance

MOST_LISTED = 200
EVENTS_KEPT = 3600.0
"""Seconds for which events can be read again."""


class Full(Exception):
    """The queue takes no more jobs for now."""


class Conflict(Exception):
    """What was asked does not fit the state of the job; the text says why."""


@dataclass(frozen=True)
class Event:
    """One change.

    Attributes:
        number: increases by time.
        job: the job; empty for changes of the queue itself.
        kind: ``state``, ``progress``, ``preview``, ``removed`` or ``queue``.
        data: as JSON.
    """

    number: int
    job: str
    kind: str
    data: str


class JobQueue:
    """Jobs in a database, for the server and its workers.

    Args:
        database: where they are.
        endurance: how long leases are, and how often a job is tried.
        clock: a monotonic clock that all processes of this machine share.
    """

    def __init__(
        self,
        database: Database,
        *,
        endurance: Endurance | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        self.endurance = endurance or Endurance()
        self._clock = clock

    # --- for clients ------------------------------------------------------------------------------

    def submit(self, order: Order, *, most: int, most_each: int) -> tuple[Job, bool]:
        """Queue a job; returns it and whether it is new.

        Args:
            order: what is ordered.
            most: jobs that may wait at one time.
            most_each: jobs of one client that may wait or run.

        Raises:
            Full: there are too many already.
            Conflict: the idempotency key was used for something else, or an upload has expired.
        """
        with self.database.changing() as db:
            if order.key:
                known = db.execute(
                    "SELECT id, digest FROM jobs WHERE client = ? AND key = ?",
                    (order.client, order.key),
                ).fetchone()
                if known is not None:
                    if known["digest"] != order.digest:
                        raise Conflict(
                            "This Idempotency-Key was used for another order; use a new one."
                        )
                    return _known(self._job(db, known["id"])), False
            (waiting,) = db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
            (own,) = db.execute(
                "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND client = ?",
                (order.client,),
            ).fetchone()
            if waiting >= most:
                raise Full(f"{waiting} jobs wait already; try again later.")
            if own >= most_each:
                raise Full(f"You have {own} jobs in the queue; wait for some, or cancel them.")
            (last,) = db.execute("SELECT coalesce(max(place), 0) FROM jobs").fetchone()
            now, job = time.time(), new_id()
            db.execute(
                "INSERT INTO jobs (id, state, priority, place, request, formats, source, client, key, "
                "digest, created) VALUES (?, 'queued', ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    job,
                    order.priority,
                    last + 1,
                    json.dumps(dict(order.request), ensure_ascii=False),
                    json.dumps(order.formats),
                    order.source,
                    order.client,
                    order.key or None,
                    order.digest,
                    now,
                ),
            )
            for digest in order.uploads:
                try:
                    db.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (job, digest))
                except sqlite3.IntegrityError:
                    raise Conflict(
                        f"The upload {digest[:12]}… is not here any more; upload it again."
                    ) from None
            _tell(db, job, "state", {})
            return _known(self._job(db, job)), True

    def job(self, name: str) -> Job | None:
        """The job of that id, if there is one."""
        if not is_id(name):
            return None
        with self.database.reading() as db:
            return self._job(db, name)

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        source: str = "",
        before: str = "",
        limit: int = 50,
        in_order: bool = False,
    ) -> list[Job]:
        """Jobs, the newest first, or the waiting ones in the order in which they will run.

        Args:
            states: only those in these states.
            source: only those that came by this API.
            before: only those older than this id.
            limit: at most so many.
            in_order: the waiting ones, the next first.
        """
        conditions, values = ["1"], list[Any]()
        if in_order:
            states = ("queued",)
        if states:
            conditions.append(f"state IN ({', '.join('?' * len(states))})")
            values += states
        if source:
            conditions.append("source = ?")
            values.append(source)
        if before:
            conditions.append("id < ?")
            values.append(before)
        order = "priority DESC, place" if in_order else "id DESC"
        with self.database.reading() as db:
            rows = db.execute(
                f"SELECT * FROM jobs WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?",  # noqa: S608 - no text of a client
                (*values, min(limit, MOST_LISTED)),
            ).fetchall()
            places = self._places(db) if any(row["state"] == "queued" for row in rows) else {}
        return [_as_job(row, places) for row in rows]

    def cancel(self, name: str) -> Job | None:
        """Stop a job: at once if it waits, at its next step if it runs; a finished one stays so."""
        with self.database.changing() as db:
            job = self._job(db, name)
            if job is None:
                return None
            if job.state == "queued":
                self._finish(db, name, "cancelled")
            elif job.state == "running" and not job.cancelling:
                db.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", (name,))
            return self._job(db, name)

    def retry(self, name: str) -> Job | None:
        """Queue a failed or cancelled job again.

        Raises:
            Conflict: it is in another state.
        """
        with self.database.changing() as db:
            job = self._job(db, name)
            if job is None:
                return None
            if job.state not in ("failed", "cancelled"):
                raise Conflict(
                    f"The job is {job.state}; only failed and cancelled ones are retried."
                )
            (last,) = db.execute("SELECT coalesce(max(place), 0) FROM jobs").fetchone()
            db.execute(
                "UPDATE jobs SET state = 'queued', place = ?, crashes = 0, interruptions = 0, "
                "cancelling = 0, failure = NULL, started = NULL, finished = NULL, stage = '', "
                "step = 0, steps = 0, previewed = 0 WHERE id = ?",
                (last + 1, name),
            )
            _tell(db, name, "state", {})
            return self._job(db, name)

    def change(
        self,
        name: str,
        *,
        priority: int | None = None,
        held: bool | None = None,
        before: str | None = None,
        to_end: bool = False,
    ) -> Job | None:
        """Change when a waiting job runs.

        Args:
            name: the job.
            priority: its new priority.
            held: whether it waits until it is released.
            before: another waiting job that it shall run before; it takes over that job's priority.
            to_end: whether it becomes the last of its priority.

        Raises:
            Conflict: it does not wait, or the other job does not.
        """
        with self.database.changing() as db:
            job = self._job(db, name)
            if job is None:
                return None
            if job.state != "queued":
                raise Conflict(f"The job is {job.state}; only waiting ones can be moved or held.")
            if priority is not None:
                db.execute("UPDATE jobs SET priority = ? WHERE id = ?", (priority, name))
            if held is not None:
                db.execute("UPDATE jobs SET held = ? WHERE id = ?", (int(held), name))
            if to_end:
                db.execute(
                    "UPDATE jobs SET place = (SELECT max(place) + 1 FROM jobs) WHERE id = ?",
                    (name,),
                )
            if before is not None and before != name:
                self._move_before(db, name, before)
            _tell(db, name, "state", {})
            return self._job(db, name)

    def _move_before(self, db: sqlite3.Connection, name: str, before: str) -> None:
        other = db.execute(
            "SELECT priority, place FROM jobs WHERE id = ? AND state = 'queued'", (before,)
        ).fetchone()
        if other is None:
            raise Conflict("The job to move before does not wait.")
        waiting = db.execute(
            "SELECT id FROM jobs WHERE state = 'queued' AND priority = ? AND place >= ? "
            "AND id <> ? ORDER BY place",
            (other["priority"], other["place"], name),
        ).fetchall()
        db.execute(
            "UPDATE jobs SET priority = ?, place = ? WHERE id = ?",
            (other["priority"], other["place"], name),
        )
        # Whole numbers again, so that no sequence of moves runs out of numbers in between.
        for number, row in enumerate(waiting, start=1):
            db.execute(
                "UPDATE jobs SET place = ? WHERE id = ?", (other["place"] + number, row["id"])
            )

    def remove(self, name: str) -> bool | None:
        """Forget a finished job; ``None`` if there is no such job.

        Raises:
            Conflict: it waits or runs.
        """
        with self.database.changing() as db:
            job = self._job(db, name)
            if job is None:
                return None
            if job.state not in FINISHED:
                raise Conflict(f"The job is {job.state}; cancel it before you delete it.")
            self._forget(db, name)
            return True

    def _forget(self, db: sqlite3.Connection, name: str) -> None:
        db.execute("DELETE FROM events WHERE job = ?", (name,))
        db.execute("DELETE FROM jobs WHERE id = ?", (name,))
        _tell(db, name, "removed", {"job": name})

    @property
    def paused(self) -> bool:
        """Whether workers start nothing new."""
        with self.database.reading() as db:
            return _is_paused(db)

    def pause(self, *, paused: bool) -> None:
        """Let workers start nothing new, or go on."""
        with self.database.changing() as db:
            db.execute("INSERT OR REPLACE INTO switches VALUES ('paused', ?)", (int(paused),))
            _tell(db, "", "queue", {"paused": paused})

    def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        with self.database.reading() as db:
            rows = db.execute("SELECT state, count(*) AS n FROM jobs GROUP BY state").fetchall()
        return {row["state"]: row["n"] for row in rows}

    def picture(self, name: str, kind: str) -> bytes | None:
        """A job's ``preview`` or ``thumbnail``, a JPEG, if there is one."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT data FROM pictures WHERE job = ? AND kind = ?", (name, kind)
            ).fetchone()
        return None if row is None else row["data"]

    def events(self, *, after: int, limit: int = 500) -> list[Event]:
        """Events newer than a number, the oldest first."""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT number, job, kind, data FROM events WHERE number > ? ORDER BY number LIMIT ?",
                (after, limit),
            ).fetchall()
        return [Event(row["number"], row["job"] or "", row["kind"], row["data"]) for row in rows]

    def newest_event(self) -> int:
        """The number of the newest event; 0 if there was none."""
        with self.database.reading() as db:
            (number,) = db.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()
        return number

    # --- for workers ------------------------------------------------------------------------------

    def claim(self, owner: str) -> Job | None:
        """Take the next job, if there is one and the queue is not paused."""
        with self.database.reading() as db:  # so that idle workers do not write
            waits = db.execute(
                "SELECT 1 FROM jobs WHERE state = 'queued' AND held = 0 LIMIT 1"
            ).fetchone()
        if waits is None:
            return None
        with self.database.changing() as db:
            if _is_paused(db):
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
            _tell(db, row["id"], "state", {})
            return _as_job(row, {})

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
            _tell(db, job.id, "progress", {**facts, "fraction": fraction_of(stage, step, steps)})
            if preview is not None:
                db.execute(
                    "INSERT OR REPLACE INTO pictures VALUES (?, 'preview', ?)", (job.id, preview)
                )
                db.execute("DELETE FROM events WHERE job = ? AND kind = 'preview'", (job.id,))
                _tell(db, job.id, "preview", {"job": job.id})
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
            if not self._is_ours(db, job):
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
            self._finish(db, job.id, "completed")
            return True

    def fail(self, job: Job, failure: Failure) -> bool:
        """End a job with a cause; returns false if it is lost."""
        with self.database.changing() as db:
            if not self._is_ours(db, job):
                return False
            self._finish(db, job.id, "failed", failure)
            return True

    def stopped(self, job: Job) -> bool:
        """End a job that was asked to stop; returns false if it is lost."""
        with self.database.changing() as db:
            if not self._is_ours(db, job):
                return False
            self._finish(db, job.id, "cancelled")
            return True

    def give_back(self, job: Job) -> bool:
        """Queue a job again because its worker ends; that counts as no failure."""
        with self.database.changing() as db:
            if not self._is_ours(db, job):
                return False
            self._requeue(db, job.id)
            return True

    # --- for the supervisor -----------------------------------------------------------------------

    def crashed(self, owner: str, cause: str) -> list[Job]:
        """Take back the jobs of a worker that ended; one that did so too often is failed."""
        with self.database.changing() as db:
            rows = db.execute(
                "SELECT * FROM jobs WHERE state = 'running' AND owner = ?", (owner,)
            ).fetchall()
            for row in rows:
                self._count_crash(db, row, cause)
            return [_as_job(row, {}) for row in rows]

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
                    self._finish(db, row["id"], "cancelled")
                elif count >= self.endurance.interruptions:
                    detail = f"The whole server ended {count} times while this job ran."
                    self._finish(db, row["id"], "failed", Failure("The server ended", detail))
                else:
                    self._requeue(db, row["id"])
            db.execute("DELETE FROM workers")
            return len(rows)

    def running(self) -> list[Job]:
        """Every running job."""
        with self.database.reading() as db:
            rows = db.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
        return [_as_job(row, {}) for row in rows]

    def prune(self, *, keep_seconds: float) -> int:
        """Forget old finished jobs and old events; returns how many jobs."""
        now = time.time()
        with self.database.changing() as db:
            db.execute("DELETE FROM events WHERE at < ?", (now - EVENTS_KEPT,))
            rows = db.execute(
                "SELECT id FROM jobs WHERE finished < ? LIMIT 1000", (now - keep_seconds,)
            ).fetchall()
            for row in rows:
                self._forget(db, row["id"])
            return len(rows)

    def oldest_finished(self) -> str | None:
        """The finished job that ended first and still has files in the store."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT id FROM jobs WHERE finished IS NOT NULL AND id IN (SELECT job FROM uses) "
                "ORDER BY finished LIMIT 1"
            ).fetchone()
        return None if row is None else row["id"]

    # --- inside -----------------------------------------------------------------------------------

    def _count_crash(self, db: sqlite3.Connection, row: sqlite3.Row, cause: str) -> None:
        count = row["crashes"] + 1
        db.execute("UPDATE jobs SET crashes = ? WHERE id = ?", (count, row["id"]))
        if row["cancelling"]:
            self._finish(db, row["id"], "cancelled")
        elif count >= self.endurance.crashes:
            times = "once" if count == 1 else "twice" if count == 2 else f"{count} times"
            detail = f"The job ended its worker process {times}: {cause}."
            self._finish(db, row["id"], "failed", Failure("The worker crashed", detail))
        else:
            self._requeue(db, row["id"])

    def _requeue(self, db: sqlite3.Connection, name: str) -> None:
        """It keeps its place, so that it runs next among its equals."""
        db.execute(
            "UPDATE jobs SET state = 'queued', owner = NULL, lease = NULL, started = NULL, stage = '', "
            "step = 0, steps = 0 WHERE id = ?",
            (name,),
        )
        _tell(db, name, "state", {})

    def _finish(
        self, db: sqlite3.Connection, name: str, state: str, failure: Failure | None = None
    ) -> None:
        db.execute(
            "UPDATE jobs SET state = ?, failure = ?, finished = ?, owner = NULL, lease = NULL "
            "WHERE id = ?",
            (state, json.dumps(asdict(failure)) if failure else None, time.time(), name),
        )
        db.execute("DELETE FROM events WHERE job = ? AND kind = 'progress'", (name,))
        _tell(db, name, "state", {})

    def _is_ours(self, db: sqlite3.Connection, job: Job) -> bool:
        row = db.execute(
            "SELECT 1 FROM jobs WHERE id = ? AND fence = ? AND state = 'running'",
            (job.id, job.fence),
        ).fetchone()
        return row is not None

    def _job(self, db: sqlite3.Connection, name: str) -> Job | None:
        row = db.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()
        if row is None:
            return None
        places: dict[str, int] = {}
        if row["state"] == "queued":
            (ahead,) = db.execute(
                "SELECT count(*) FROM jobs WHERE state = 'queued' AND (priority > ? OR "
                "(priority = ? AND place < ?))",
                (row["priority"], row["priority"], row["place"]),
            ).fetchone()
            places = {name: ahead}
        return _as_job(row, places)

    def _places(self, db: sqlite3.Connection) -> dict[str, int]:
        rows = db.execute(
            "SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, place"
        ).fetchall()
        return {row["id"]: number for number, row in enumerate(rows)}


SHARES = {
    "load": (0.0, 0.05),
    "denoise": (0.05, 0.85),
    "decode": (0.85, 0.97),
    "write": (0.97, 1.0),
}
"""The part of the whole that each stage is taken for, from where to where."""


def fraction_of(stage: str, step: int, steps: int) -> float:
    """How much of the whole job is done, from 0 to 1."""
    start, end = SHARES.get(stage, (0.0, 0.0))
    within = min(1.0, step / steps) if steps else 0.0
    return round(start + (end - start) * within, 4)


def _known(job: Job | None) -> Job:
    assert job is not None
    return job


def _is_paused(db: sqlite3.Connection) -> bool:
    row = db.execute("SELECT value FROM switches WHERE name = 'paused'").fetchone()
    return row is not None and bool(row["value"])


def _tell(db: sqlite3.Connection, job: str, kind: str, data: Mapping[str, Any]) -> None:
    db.execute(
        "INSERT INTO events (at, job, kind, data) VALUES (?, ?, ?, ?)",
        (time.time(), job or None, kind, json.dumps(data)),
    )


def _register(db: sqlite3.Connection, file: ResultFile, suffix: str) -> None:
    db.execute(
        "INSERT INTO files (hash, suffix, media_type, bytes, facts, uploaded, used) "
        "VALUES (?, ?, ?, ?, '{}', 0, ?) ON CONFLICT (hash) DO UPDATE SET used = excluded.used",
        (file.hash, suffix, file.media_type, file.bytes, time.time()),
    )


def _as_job(row: sqlite3.Row, places: Mapping[str, int]) -> Job:
    return Job(
        id=row["id"],
        state=row["state"],
        held=bool(row["held"]),
        priority=row["priority"],
        position=places.get(row["id"]),
        request=json.loads(row["request"]),
        formats=tuple(json.loads(row["formats"])),
        source=row["source"],
        client=row["client"],
        attempts=row["attempts"],
        crashes=row["crashes"],
        fence=row["fence"],
        cancelling=bool(row["cancelling"]),
        stage=row["stage"],
        step=row["step"],
        steps=row["steps"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        previewed=bool(row["previewed"]),
        thumbnail=bool(row["thumbnail"]),
        outcome=outcome_from_json(row["outcome"]) if row["outcome"] else None,
        failure=Failure(**json.loads(row["failure"])) if row["failure"] else None,
    )
