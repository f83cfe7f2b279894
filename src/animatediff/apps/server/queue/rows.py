"""The rows of the queue: reading a job, and the changes that several parts of the queue make."""

from __future__ import annotations

import functools
import json
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict
from types import MappingProxyType
from typing import Any

from animatediff.apps.server.queue.job import Failure, Job, outcome_from_json


def job_of(db: sqlite3.Connection, name: str) -> Job | None:
    """Return the job of that id, if there is one."""
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
    return as_job(row, places)


def places_of(db: sqlite3.Connection) -> dict[str, int]:
    """Return the place of every waiting job, from 0, by id."""
    rows = db.execute(
        "SELECT id FROM jobs WHERE state = 'queued' ORDER BY priority DESC, place"
    ).fetchall()
    return {row["id"]: number for number, row in enumerate(rows)}


def as_job(row: sqlite3.Row, places: Mapping[str, int]) -> Job:
    """Return the job that a row holds."""
    return Job(
        id=row["id"],
        state=row["state"],
        held=bool(row["held"]),
        priority=row["priority"],
        position=places.get(row["id"]),
        request=_request(row["request"]),
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


@functools.lru_cache(1024)
def _request(text: str) -> Mapping[str, Any]:
    """A stored request; lists show the same ones again and again."""
    return MappingProxyType(json.loads(text))


def finish(db: sqlite3.Connection, name: str, state: str, failure: Failure | None = None) -> None:
    """End a job, and tell of it."""
    db.execute(
        "UPDATE jobs SET state = ?, failure = ?, finished = ?, owner = NULL, lease = NULL "
        "WHERE id = ?",
        (state, json.dumps(asdict(failure)) if failure else None, time.time(), name),
    )
    db.execute("DELETE FROM events WHERE job = ? AND kind = 'progress'", (name,))
    tell(db, name, "state", {})


def requeue(db: sqlite3.Connection, name: str) -> None:
    """Queue a running job again. It keeps its place, so that it runs next among its equals."""
    db.execute(
        "UPDATE jobs SET state = 'queued', owner = NULL, lease = NULL, started = NULL, stage = '', "
        "step = 0, steps = 0 WHERE id = ?",
        (name,),
    )
    tell(db, name, "state", {})


def forget(db: sqlite3.Connection, name: str) -> None:
    """Remove a job and its events, and tell of it."""
    db.execute("DELETE FROM events WHERE job = ?", (name,))
    db.execute("DELETE FROM jobs WHERE id = ?", (name,))
    tell(db, name, "removed", {"job": name})


def holds(db: sqlite3.Connection, job: Job) -> bool:
    """Return whether a worker still holds a job that it claimed."""
    row = db.execute(
        "SELECT 1 FROM jobs WHERE id = ? AND fence = ? AND state = 'running'",
        (job.id, job.fence),
    ).fetchone()
    return row is not None


def is_paused(db: sqlite3.Connection) -> bool:
    """Return whether workers start nothing new."""
    row = db.execute("SELECT value FROM switches WHERE name = 'paused'").fetchone()
    return row is not None and bool(row["value"])


def tell(db: sqlite3.Connection, job: str, kind: str, data: Mapping[str, Any]) -> None:
    """Store an event."""
    db.execute(
        "INSERT INTO events (at, job, kind, data) VALUES (?, ?, ?, ?)",
        (time.time(), job or None, kind, json.dumps(data)),
    )
