"""Jobs as the native API shows them."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from animatediff.apps.server.answers.sentences import without_paths
from animatediff.apps.server.queue.job import Job, fraction_of

API = "/api/v1"


def job_as_json(job: Job) -> dict[str, Any]:
    """One job, with addresses of what belongs to it."""
    at = f"{API}/jobs/{job.id}"
    outcome = job.outcome if job.state == "completed" else None
    return {
        "id": job.id,
        "state": job.state,
        "held": job.held,
        "cancelling": job.cancelling and job.state == "running",
        "priority": job.priority,
        "position": job.position,
        "source": job.source,
        "attempts": job.attempts,
        "created_at": moment(job.created),
        "started_at": moment(job.started),
        "finished_at": moment(job.finished),
        "progress": progress_of(job),
        "request": without_defaults(job.request),
        "resolved": dict(outcome.resolved) if outcome else None,
        "formats": list(job.formats),
        "results": [
            {
                "hash": file.hash,
                "format": file.format,
                "media_type": file.media_type,
                "bytes": file.bytes,
                "name": file.name,
                "url": f"{API}/results/{file.hash}",
            }
            for file in (outcome.files if outcome else ())
        ],
        "notes": [without_paths(note) for note in (outcome.notes if outcome else ())],
        "seconds": dict(outcome.seconds) if outcome else {},
        "error": {
            "title": job.failure.title,
            "detail": without_paths(job.failure.detail),
            "code": job.failure.code,
        }
        if job.failure and job.state == "failed"
        else None,
        "preview": f"{at}/preview" if job.previewed else None,
        "thumbnail": f"{at}/thumbnail" if job.thumbnail else None,
    }


def progress_of(job: Job) -> dict[str, Any] | None:
    """How far a running job is."""
    if job.state != "running":
        return None
    return {
        "stage": job.stage,
        "step": job.step,
        "steps": job.steps,
        "fraction": fraction_of(job.stage, job.step, job.steps),
    }


def moment(seconds: float | None) -> str | None:
    """A time as ISO 8601 in UTC."""
    if seconds is None:
        return None
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def without_defaults(request: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a stored request that were chosen, so that lists stay readable."""
    plain = _defaults()
    return {
        name: value
        for name, value in request.items()
        if name in ("prompt", "seed") or (name != "schema" and value != plain.get(name))
    }


@functools.cache
def _defaults() -> Mapping[str, Any]:
    from animatediff.sampling.request import AnimationRequest

    return AnimationRequest("").as_table()
