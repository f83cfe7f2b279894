"""One job: what is to be made, how far it is, and how it ended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

State = Literal["queued", "running", "completed", "failed", "cancelled"]
STATES: tuple[str, ...] = get_args(State)
FINISHED: tuple[str, ...] = ("completed", "failed", "cancelled")

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID_LENGTH = 26


@dataclass(frozen=True)
class ResultFile:
    """One file of a result.

    Attributes:
        hash: its SHA-256, by which the store knows it.
        format: as it was ordered, such as ``mp4``.
        media_type: for clients.
        bytes: its size.
        name: a file name to offer for a download.
    """

    hash: str
    format: str
    media_type: str
    bytes: int
    name: str


@dataclass(frozen=True)
class Outcome:
    """What a completed job gave.

    Attributes:
        files: the results.
        resolved: the request with every choice made.
        notes: what is to be known of the result, a sentence each.
        seconds: spent in each stage.
    """

    files: tuple[ResultFile, ...]
    resolved: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class Failure:
    """Why a job failed.

    Attributes:
        title: the kind of failure.
        detail: one sentence.
        code: the exit code that the command line would have.
    """

    title: str
    detail: str
    code: int = 1


@dataclass(frozen=True)
class Order:
    """What a client orders.

    Attributes:
        request: the table of an ``AnimationRequest``; inputs are hashes of uploads.
        formats: of the result.
        priority: higher runs earlier.
        source: the API that it came by.
        client: who ordered it, without a secret.
        key: an idempotency key, unique for the client; empty for none.
        digest: of the whole order, which an equal key must have.
        uploads: hashes that it needs.
    """

    request: Mapping[str, Any]
    formats: tuple[str, ...]
    priority: int
    source: str
    client: str
    key: str
    digest: str
    uploads: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One job, as the queue has it.

    Attributes:
        id: sorts by the time of the order.
        state: where it is.
        held: whether it waits until it is released.
        priority: higher runs earlier.
        position: its place among the waiting ones, from 0; ``None`` if it does not wait, or if
            nobody looked.
        request: as ordered.
        formats: as ordered.
        source: the API that it came by.
        client: who ordered it.
        attempts: how often a worker began it.
        crashes: how often it ended its worker.
        fence: increases with every attempt; only the newest may finish the job.
        cancelling: whether it was asked to stop.
        stage, step, steps: how far it is.
        created, started, finished: seconds since 1970.
        previewed: whether there is a contact sheet.
        thumbnail: whether there is a picture of the first frame.
        outcome: of a completed job.
        failure: of a failed one.
    """

    id: str
    state: State
    held: bool
    priority: int
    position: int | None
    request: Mapping[str, Any]
    formats: tuple[str, ...]
    source: str
    client: str
    attempts: int
    crashes: int
    fence: int
    cancelling: bool
    stage: str
    step: int
    steps: int
    created: float
    started: float | None
    finished: float | None
    previewed: bool
    thumbnail: bool
    outcome: Outcome | None
    failure: Failure | None


def new_id(now: float | None = None) -> str:
    """A new ULID: 48 bits of milliseconds and 80 random bits, in 26 characters that sort by time."""
    millis = int((time.time() if now is None else now) * 1000)
    number = (millis & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10), "big")
    return "".join(_CROCKFORD[number >> 5 * place & 31] for place in reversed(range(ID_LENGTH)))


def is_id(text: str) -> bool:
    """Whether a text can be the id of a job."""
    return len(text) == ID_LENGTH and all(letter in _CROCKFORD for letter in text)


def outcome_to_json(outcome: Outcome) -> str:
    """An outcome as JSON that ``outcome_from_json`` reads back."""
    return json.dumps(
        {
            "files": [vars(file) for file in outcome.files],
            "resolved": dict(outcome.resolved),
            "notes": list(outcome.notes),
            "seconds": dict(outcome.seconds),
        },
        ensure_ascii=False,
    )


def outcome_from_json(text: str) -> Outcome:
    """The outcome that ``outcome_to_json`` wrote."""
    table = json.loads(text)
    return Outcome(
        files=tuple(ResultFile(**file) for file in table["files"]),
        resolved=table["resolved"],
        notes=tuple(table["notes"]),
        seconds=table["seconds"],
    )


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
