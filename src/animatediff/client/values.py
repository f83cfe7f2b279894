"""What the server's answers hold, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Value = TypeVar("Value", bound="DataclassInstance")

State = Literal["queued", "running", "completed", "failed", "cancelled"]
FINISHED: tuple[State, ...] = ("completed", "failed", "cancelled")


def read_value(kind: type[Value], table: Mapping[str, Any]) -> Value:
    """Return a value from the server's JSON, which may have more fields than the value."""
    return kind(**{field.name: table[field.name] for field in fields(kind)})


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: ``load``, ``denoise``, ``decode`` or ``write``.
        step: how many steps of the stage are done.
        steps: of how many.
        fraction: of the whole job, from 0 to 1.
    """

    stage: str
    step: int
    steps: int
    fraction: float


@dataclass(frozen=True)
class Result:
    """One file that a job gave.

    Attributes:
        hash: its SHA-256.
        format: such as ``mp4``.
        media_type: such as ``video/mp4``.
        bytes: its size.
        name: a file name.
        url: its path on the server.
    """

    hash: str
    format: str
    media_type: str
    bytes: int
    name: str
    url: str


@dataclass(frozen=True)
class Job:
    """One job.

    Attributes:
        id: its name on the server.
        state: where it is.
        held: whether it waits until it is released.
        priority: higher runs earlier.
        position: its place among the waiting jobs, from 0; ``None`` if it does not wait.
        request: the fields that were asked for.
        resolved: every field, with the model's choices, once it is completed.
        progress: while it runs.
        results: once it is completed.
        notes: what is to be known of the results.
        error: why it failed, in a sentence; empty otherwise.
    """

    id: str
    state: State
    held: bool
    priority: int
    position: int | None
    request: Mapping[str, Any]
    resolved: Mapping[str, Any] | None
    progress: Progress | None
    results: tuple[Result, ...]
    notes: tuple[str, ...]
    error: str

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """From the server's JSON."""
        error = table["error"] or {}
        own = {
            "progress": read_value(Progress, table["progress"]) if table["progress"] else None,
            "results": tuple(read_value(Result, each) for each in table["results"]),
            "notes": tuple(table["notes"]),
            "error": error.get("detail") or error.get("title") or "",
        }
        return read_value(cls, {**table, **own})

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in FINISHED


@dataclass(frozen=True)
class Event:
    """One server-sent event.

    Attributes:
        number: increases by time.
        kind: ``state``, ``progress``, ``preview``, ``removed`` or ``queue``.
        data: as ``docs/guides/server.md`` describes it.
    """

    number: int
    kind: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class Upload:
    """A file that requests may name by its hash.

    Attributes:
        hash: its SHA-256.
        media_type: such as ``image/png``.
        width: in pixels.
        height: in pixels.
        frames: 1 for a picture.
    """

    hash: str
    media_type: str
    width: int
    height: int
    frames: int


@dataclass(frozen=True)
class Model:
    """A model that a request may name.

    Attributes:
        role: what it is for.
        field: the field of a request that takes it.
        name: as a request names it.
        about: a few words.
    """

    role: str
    field: str
    name: str
    about: str


@dataclass(frozen=True)
class StoredSettings:
    """The settings that a file stores.

    Attributes:
        request: fields of a request.
        source: ``animatediff`` or ``a1111``.
        notes: what could not be taken over.
    """

    request: Mapping[str, Any]
    source: str
    notes: tuple[str, ...]
