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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from animatediff.apps.server.queue.claims import Claims
from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import FINISHED, Job, Order, is_id, new_id
from animatediff.apps.server.queue.recovery import Recovery
from animatediff.apps.server.queue.rows import (
    as_job,
    finish,
    forget,
    is_paused,
    job_of,
    places_of,
    tell,
)
from animatediff.apps.server.settings import Endurance

MOST_LISTED = 200


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

    Attributes:
        claims: for workers.
        recovery: for the supervisor.
    """

    def __init__(
        self,
        database: Database,
        *,
        endurance: Endurance | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.database = database
        endurance = endurance or Endurance()
        self.claims = Claims(database, endurance=endurance, clock=clock)
        self.recovery = Recovery(database, endurance=endurance, clock=clock)

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
        # Looked at first without the right to write, so that a full queue refuses at once, whatever
        # a worker writes meanwhile.
        with self.database.reading() as db:
            known = _admitted(db, order, most=most, most_each=most_each)
        if known is not None:
            return known, False
        with self.database.changing() as db:
            known = _admitted(db, order, most=most, most_each=most_each)
            if known is not None:
                return known, False
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
            tell(db, job, "state", {})
            return _known(job_of(db, job)), True

    def job(self, name: str) -> Job | None:
        """The job of that id, if there is one."""
        if not is_id(name):
            return None
        with self.database.reading() as db:
            return job_of(db, name)

    def jobs(
        self,
        *,
        states: Sequence[str] = (),
        source: str = "",
        past: str = "",
        limit: int = 50,
        in_order: bool = False,
        oldest_first: bool = False,
    ) -> list[Job]:
        """Jobs, the newest first, or the waiting ones in the order in which they will run.

        Args:
            states: only those in these states.
            source: only those that came by this API.
            past: only those that come after this id in the list: older ones, or newer ones with
                ``oldest_first``.
            limit: at most so many.
            in_order: the waiting ones, the next first.
            oldest_first: the oldest first.
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
        if past:
            conditions.append("id > ?" if oldest_first else "id < ?")
            values.append(past)
        order = "id" if oldest_first else "id DESC"
        if in_order:
            order = "priority DESC, place"
        with self.database.reading() as db:
            rows = db.execute(
                f"SELECT * FROM jobs WHERE {' AND '.join(conditions)} ORDER BY {order} LIMIT ?",  # noqa: S608 - no text of a client
                (*values, min(limit, MOST_LISTED)),
            ).fetchall()
            places = places_of(db) if any(row["state"] == "queued" for row in rows) else {}
        return [as_job(row, places) for row in rows]

    def cancel(self, name: str) -> Job | None:
        """Stop a job: at once if it waits, at its next step if it runs; a finished one stays so."""
        with self.database.changing() as db:
            job = job_of(db, name)
            if job is None:
                return None
            if job.state == "queued":
                finish(db, name, "cancelled")
            elif job.state == "running" and not job.cancelling:
                db.execute("UPDATE jobs SET cancelling = 1 WHERE id = ?", (name,))
            return job_of(db, name)

    def retry(self, name: str) -> Job | None:
        """Queue a failed or cancelled job again.

        Raises:
            Conflict: it is in another state.
        """
        with self.database.changing() as db:
            job = job_of(db, name)
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
            tell(db, name, "state", {})
            return job_of(db, name)

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
            job = job_of(db, name)
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
            tell(db, name, "state", {})
            return job_of(db, name)

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
            job = job_of(db, name)
            if job is None:
                return None
            if job.state not in FINISHED:
                raise Conflict(f"The job is {job.state}; cancel it before you delete it.")
            forget(db, name)
            return True

    @property
    def paused(self) -> bool:
        """Whether workers start nothing new."""
        with self.database.reading() as db:
            return is_paused(db)

    def pause(self, *, paused: bool) -> None:
        """Let workers start nothing new, or go on."""
        with self.database.changing() as db:
            db.execute("INSERT OR REPLACE INTO switches VALUES ('paused', ?)", (int(paused),))
            tell(db, "", "queue", {"paused": paused})

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

    def running(self) -> list[Job]:
        """Every running job."""
        with self.database.reading() as db:
            rows = db.execute("SELECT * FROM jobs WHERE state = 'running'").fetchall()
        return [as_job(row, {}) for row in rows]

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


def _known(job: Job | None) -> Job:
    assert job is not None
    return job


def _admitted(db: sqlite3.Connection, order: Order, *, most: int, most_each: int) -> Job | None:
    """The job that was ordered before under the same key; ``None`` if a new one may be queued.

    Raises:
        Full, Conflict: see ``JobQueue.submit``.
    """
    if order.key:
        known = db.execute(
            "SELECT id, digest FROM jobs WHERE client = ? AND key = ?", (order.client, order.key)
        ).fetchone()
        if known is not None:
            if known["digest"] != order.digest:
                raise Conflict("This Idempotency-Key was used for another order; use a new one.")
            return _known(job_of(db, known["id"]))
    (waiting,) = db.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()
    (own,) = db.execute(
        "SELECT count(*) FROM jobs WHERE state IN ('queued', 'running') AND client = ?",
        (order.client,),
    ).fetchone()
    if waiting >= most:
        raise Full(f"{waiting} jobs wait already; try again later.")
    if own >= most_each:
        raise Full(f"You have {own} jobs in the queue; wait for some, or cancel them.")
    return None
