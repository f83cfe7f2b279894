"""Wait for a job, for APIs whose answer is the result itself."""

from __future__ import annotations

from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.queue.job import FINISHED, Job
from animatediff.apps.server.service import Service

_STATUS = {2: 422, 3: 422, 4: 507, 5: 507}
"""The status of an answer for a job that failed with an exit code; 500 for others."""


async def finished(service: Service, job: Job) -> Job:
    """The job after it ended.

    Raises:
        Refused: it was deleted meanwhile, or too many wait.
    """
    messages = service.broker.listen(job.id)
    try:
        async for _ in messages:
            found = service.queue.job(job.id)
            if found is None:
                break
            if found.state in FINISHED:
                return found
    finally:
        await messages.aclose()
    found = service.queue.job(job.id)
    if found is not None and found.state in FINISHED:
        return found
    raise Refused(503, "The server stops; the job goes on when it is back.")


def check_completed(job: Job) -> Job:
    """The job, if it was completed.

    Raises:
        Refused: it failed, or was cancelled.
    """
    if job.state == "cancelled":
        raise Refused(409, "The job was cancelled.")
    if job.state == "failed" and job.failure is not None:
        raise Refused(_STATUS.get(job.failure.code, 500), job.failure.detail)
    return job
