"""``/api/v1``: jobs, their events and results, uploads, and what a form needs to know."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse

from animatediff.apps.server.answers.as_json import API, job_as_json
from animatediff.apps.server.answers.events import as_stream
from animatediff.apps.server.answers.form import form_text
from animatediff.apps.server.answers.openapi import answers, body_of, file_body
from animatediff.apps.server.answers.problems import FieldError, Refused
from animatediff.apps.server.gate import COOKIE
from animatediff.apps.server.incoming.outside import (
    parse_object,
    read_formats,
    read_priority,
    read_request,
)
from animatediff.apps.server.incoming.uploads import received, store_upload
from animatediff.apps.server.queue.job import STATES, Job, is_id
from animatediff.apps.server.queue.store import Stored
from animatediff.apps.server.service import Service

INLINE = ("image/png", "image/jpeg", "image/gif", "image/webp", "video/mp4", "video/webm")
MAX_RANGES = 20
SANDBOX = {"content-security-policy": "default-src 'none'; sandbox"}
FILE = answers(*INLINE, "application/octet-stream")
PICTURE = answers("image/jpeg")
EVENTS = answers("text/event-stream")
KEPT = {"cache-control": "private, max-age=31536000, immutable"}


def native_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter(prefix=API)
    queue = service.queue

    def known(name: str) -> Job:
        job = queue.job(name)
        if job is None:
            raise Refused(404, "There is no such job.")
        return job

    def changed(job: Job | None) -> dict[str, Any]:
        if job is None:
            raise Refused(404, "There is no such job.")
        return job_as_json(job)

    # --- jobs -------------------------------------------------------------------------------------

    @router.post(
        "/jobs",
        status_code=202,
        openapi_extra=body_of("Order"),
        responses={200: {"description": "The job that was queued before under the same key."}},
    )
    async def submit(request: Request) -> Response:
        """Queue a job."""
        body = parse_object(await request.body(), known=("request", "formats", "priority"))
        asked = read_request(
            body.get("request"), names=service.names, has_upload=service.has_upload
        )
        job, is_new = await service.submit(
            asked,
            formats=read_formats(body.get("formats", ["mp4"]), request=asked),
            priority=read_priority(body.get("priority", 0)),
            source="native",
            client=request.state.client,
            key=request.headers.get("idempotency-key", ""),
            digest_of=body,
        )
        headers = {"Location": f"{API}/jobs/{job.id}"}
        return JSONResponse(job_as_json(job), 202 if is_new else 200, headers)

    @router.get("/jobs")
    async def jobs(state: str = "", limit: int = 50, before: str = "", order: str = "") -> Response:
        """List jobs."""
        states = tuple(name for name in state.split(",") if name)
        if any(name not in STATES for name in states):
            raise _bad("state", f"state is one or more of {', '.join(STATES)}, with commas.")
        if not 1 <= limit <= 200:
            raise _bad("limit", "limit is a number from 1 to 200.")
        if before and not is_id(before):
            raise _bad("before", "before is the id of a job.")
        if order not in ("", "queue"):
            raise _bad("order", "order is queue, or left out.")
        if order and (before or states not in ((), ("queued",))):
            raise _bad(
                "order",
                "order=queue lists all that wait; leave out before, and any state but queued.",
            )
        found = queue.jobs(states=states, past=before, limit=limit, in_order=order == "queue")
        more = len(found) == limit and order != "queue"
        return JSONResponse(
            {
                "jobs": [job_as_json(job) for job in found],
                "next": found[-1].id if more else None,
                "paused": queue.paused,
            }
        )

    @router.get("/jobs/{name}")
    async def job(name: str) -> Response:
        """Get one job."""
        return JSONResponse(job_as_json(known(name)))

    @router.post("/jobs/{name}/cancel")
    async def cancel(name: str, request: Request) -> dict[str, Any]:
        """Stop a job."""
        known(name)
        service.logs.audit("cancelled", {"job": name, "client": request.state.client})
        return changed(await service.write(lambda: queue.cancel(name)))

    @router.post("/jobs/{name}/retry")
    async def retry(name: str, request: Request) -> dict[str, Any]:
        """Queue a failed or cancelled job again."""
        known(name)
        service.logs.audit("retried", {"job": name, "client": request.state.client})
        return changed(await service.write(lambda: queue.retry(name)))

    @router.patch("/jobs/{name}", openapi_extra=body_of("Change"))
    async def change(name: str, request: Request) -> dict[str, Any]:
        """Change when a waiting job runs."""
        known(name)
        body = parse_object(await request.body(), known=("priority", "before", "held"))
        priority = read_priority(body["priority"]) if "priority" in body else None
        held, before = body.get("held"), body.get("before")
        if "held" in body and not isinstance(held, bool):
            raise _bad("held", "held is true or false.")
        if before is not None and not (isinstance(before, str) and is_id(before)):
            raise _bad("before", "before is the id of a job, or null for the end.")
        to_end = "before" in body and before is None
        service.logs.audit("changed", {"job": name, "client": request.state.client})
        return changed(
            await service.write(
                lambda: queue.change(
                    name, priority=priority, held=held, before=before, to_end=to_end
                )
            )
        )

    @router.delete("/jobs/{name}", status_code=204)
    async def remove(name: str, request: Request) -> Response:
        """Forget a finished job."""
        known(name)
        service.logs.audit("removed", {"job": name, "client": request.state.client})
        await service.write(lambda: queue.remove(name))
        return Response(status_code=204)

    @router.get("/jobs/{name}/preview", response_class=Response, responses=PICTURE)
    async def preview(name: str) -> Response:
        """Get a contact sheet of all frames as they now look."""
        return _jpeg(queue.picture(known(name).id, "preview"))

    @router.get("/jobs/{name}/thumbnail", response_class=Response, responses=PICTURE)
    async def thumbnail(name: str) -> Response:
        """Get the first frame of a completed job."""
        return _jpeg(queue.picture(known(name).id, "thumbnail"))

    # --- events -----------------------------------------------------------------------------------

    @router.get("/jobs/{name}/events", response_class=Response, responses=EVENTS)
    async def events_of(name: str, request: Request) -> Response:
        """Stream the events of one job until it ends."""
        return _stream(service, known(name).id, request)

    @router.get("/events", response_class=Response, responses=EVENTS)
    async def events(request: Request) -> Response:
        """Stream the events of all jobs."""
        return _stream(service, "", request)

    # --- the queue --------------------------------------------------------------------------------

    @router.get("/queue")
    async def state_of_queue() -> dict[str, Any]:
        """Get what the queue and its workers do."""
        counts = queue.counts()
        return {
            "paused": queue.paused,
            "queued": counts.get("queued", 0),
            "running": counts.get("running", 0),
            "workers": [
                {
                    "name": worker.name,
                    "device": worker.device,
                    "state": worker.state,
                    "job": worker.job or None,
                    "models": list(worker.models),
                }
                for worker in service.workers.all()
            ],
        }

    @router.patch("/queue", openapi_extra=body_of("Queue"))
    async def pause(request: Request) -> dict[str, Any]:
        """Pause the queue, or let it go on."""
        body = parse_object(await request.body(), known=("paused",))
        paused = body.get("paused")
        if not isinstance(paused, bool):
            raise _bad("paused", "paused is true or false.")
        service.logs.audit("paused" if paused else "resumed", {"client": request.state.client})
        await service.write(lambda: queue.pause(paused=paused))
        return await state_of_queue()

    # --- what a form needs ------------------------------------------------------------------------

    @router.get("/options")
    async def options() -> Response:
        """Get the option fields in groups."""
        return Response(form_text(), media_type="application/json")

    @router.get("/models")
    async def models() -> Response:
        """List the models that a request may name."""
        return JSONResponse(
            [
                {"role": model.role, "field": model.field, "name": model.name, "about": model.about}
                for model in service.names.all()
            ]
        )

    # --- files ------------------------------------------------------------------------------------

    @router.post("/uploads", status_code=201, openapi_extra=file_body())
    async def upload(request: Request) -> dict[str, Any]:
        """Store an input."""
        most = service.settings.limits.upload_bytes
        async with received(request, store=service.store, most=most) as path:
            stored = await store_upload(
                path, store=service.store, inspector=service.inspector, write=service.write
            )
        service.logs.audit("uploaded", {"hash": stored["hash"], "client": request.state.client})
        return stored

    @router.get("/uploads/{digest}")
    async def uploaded(digest: str) -> dict[str, Any]:
        """Get what an upload is."""
        stored = service.store.find(digest)
        if stored is None or not stored.uploaded:
            raise Refused(404, "There is no such upload.")
        return {"hash": digest, "bytes": stored.bytes, **stored.facts}

    @router.get("/uploads/{digest}/content", response_class=Response, responses=FILE)
    async def upload_content(digest: str, request: Request) -> Response:
        """Get the file of an upload."""
        stored = service.store.find(digest)
        if stored is None or not stored.uploaded:
            raise Refused(404, "There is no such upload.")
        return file_answer(stored, request, download=False, name=digest[:12])

    @router.delete("/uploads/{digest}", status_code=204)
    async def remove_upload(digest: str, request: Request) -> Response:
        """Delete an upload that no job uses."""
        try:
            await service.write(lambda: service.store.remove_upload(digest))
        except KeyError:
            raise Refused(404, "There is no such upload.") from None
        service.logs.audit("upload removed", {"hash": digest, "client": request.state.client})
        return Response(status_code=204)

    @router.get("/results/{digest}", response_class=Response, responses=FILE)
    async def result(digest: str, request: Request, download: bool = False) -> Response:
        """Get a result file."""
        stored = service.store.find(digest)
        if stored is None:
            raise Refused(404, "There is no such result.")
        return file_answer(stored, request, download=download, name=digest[:12])

    # --- the page's session -----------------------------------------------------------------------

    @router.get("/session")
    async def session(request: Request) -> dict[str, Any]:
        """Get whether a token is needed and was sent."""
        from animatediff.apps.cli import version

        return {
            "needs_token": bool(service.settings.token),
            "authenticated": request.state.authenticated,
            "version": version(),
        }

    @router.post("/session", status_code=204, openapi_extra=body_of("Session"))
    async def log_in(request: Request) -> Response:
        """Exchange the token for a cookie."""
        token = parse_object(await request.body(), known=("token",)).get("token")
        right = isinstance(token, str) and request.app.state.check_token(token)
        if not right:
            service.logs.audit(
                "refused", {"client": request.state.client, "path": f"{API}/session"}
            )
            raise Refused(401, "The token is wrong.")
        service.logs.audit("signed in", {"client": request.state.client})
        answer = Response(status_code=204)
        if service.settings.token:
            answer.set_cookie(
                COOKIE,
                service.settings.token,
                httponly=True,
                samesite="strict",
                secure=request.headers.get("x-forwarded-proto") == "https",
                path="/",
            )
        return answer

    @router.delete("/session", status_code=204)
    async def log_out() -> Response:
        """Forget the cookie."""
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE, path="/")
        return answer

    return router


def file_answer(stored: Stored, request: Request, *, download: bool, name: str) -> Response:
    """A stored file, of a fixed type and never as a page.

    Raises:
        Refused: the request names too many ranges.
    """
    if request.headers.get("range", "").count(",") >= MAX_RANGES:
        raise Refused(416, f"At most {MAX_RANGES} ranges are answered at once.")
    inline = stored.media_type in INLINE and not download
    return FileResponse(
        stored.path,
        media_type=stored.media_type if stored.media_type in INLINE else "application/octet-stream",
        filename=f"{name}{stored.path.suffix}",
        content_disposition_type="inline" if inline else "attachment",
        headers={**SANDBOX, **KEPT},
    )


def _jpeg(data: bytes | None) -> Response:
    if data is None:
        raise Refused(404, "There is no picture of this job yet.")
    return Response(data, media_type="image/jpeg", headers=SANDBOX)


def _stream(service: Service, job: str, request: Request) -> Response:
    given = request.headers.get("last-event-id", "")
    after = int(given) if given.isascii() and given.isdigit() and len(given) < 16 else None
    if service.broker.streams >= service.broker.most:
        raise Refused(429, "Too many event streams are open.", headers={"Retry-After": "5"})
    messages = service.broker.listen(job, after=after)
    return StreamingResponse(
        as_stream(messages),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"},
    )


def _bad(field: str, detail: str) -> Refused:
    return Refused(422, detail, errors=[FieldError(field, detail)])
