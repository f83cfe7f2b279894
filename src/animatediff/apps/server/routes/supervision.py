"""``/healthz``, ``/readyz`` and ``/metrics``: for whoever watches the service."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST

from animatediff.apps.server.answers.openapi import answers
from animatediff.apps.server.queue.store import writing
from animatediff.apps.server.service import Service
from animatediff.errors import FileError, OutputError


def supervision_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter()

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        """Say that the server answers."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"description": "No job would be made now."}})
    async def ready() -> Response:
        """Say whether jobs are accepted and made."""
        try:
            workers = service.workers.all()
            await service.write(lambda: _touch(service))
        except (FileError, OutputError) as error:
            return JSONResponse({"status": "not ready", "reason": str(error)}, 503)
        if not workers:
            return JSONResponse({"status": "not ready", "reason": "No worker runs yet."}, 503)
        return JSONResponse({"status": "ready", "workers": len(workers)})

    @router.get("/metrics", response_class=Response, responses=answers("text/plain"))
    async def metrics() -> Response:
        """Get the metrics for Prometheus."""
        text = service.metrics.text(
            jobs=dict.fromkeys(("queued", "running"), 0) | service.queue.counts(),
            workers=len(service.workers.all()),
            stored=service.store.bytes_used(),
            streams=service.broker.streams,
        )
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return router


def _touch(service: Service) -> None:
    """Write into the queue and into the store, to know that it can be done.

    Raises:
        OutputError: it cannot.
    """
    with service.database.changing() as db:
        db.execute("INSERT OR REPLACE INTO switches VALUES ('probed', 1)")
    with service.store.temporary() as path, writing(path) as file:
        file.write(b"probed")
