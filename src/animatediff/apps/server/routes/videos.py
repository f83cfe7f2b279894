"""``/v1/videos``: the OpenAI-style API for videos, as vLLM-Omni documents it."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import typing
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from animatediff.apps.server.answers.openapi import answers, body_of
from animatediff.apps.server.answers.problems import FieldError, Refused
from animatediff.apps.server.answers.waiting import check_completed, finished
from animatediff.apps.server.incoming.outside import (
    GivenTwice,
    is_finite,
    parse_object,
    read_request,
    value_of,
)
from animatediff.apps.server.incoming.uploads import store_upload
from animatediff.apps.server.queue.job import FINISHED, Job, fraction_of
from animatediff.apps.server.queue.jobs import Conflict
from animatediff.apps.server.queue.store import writing
from animatediff.apps.server.routes.native import INLINE, file_answer
from animatediff.apps.server.service import Service
from animatediff.sampling.request import AnimationRequest

SOURCE = "videos"
RATE = 8
MEDIA = (*INLINE, "application/octet-stream")
STATUS: Mapping[str, str] = {
    "queued": "queued",
    "running": "in_progress",
    "completed": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
PLAIN: Mapping[str, tuple[str, type]] = {
    "prompt": ("prompt", str),
    "negative_prompt": ("negative_prompt", str),
    "model": ("model", str),
    "width": ("width", int),
    "height": ("height", int),
    "num_frames": ("num_frames", int),
    "fps": ("fps", float),
    "num_inference_steps": ("steps", int),
    "guidance_scale": ("guidance", float),
    "seed": ("seed", int),
}
"""Their fields that are fields of a request, and the type of each."""
IGNORED = ("user", "generate_sound", "sound_duration")
REFERENCES = ("input_reference", "image_reference", "video_reference")
"""Their fields that hold a picture or a video, which the order knows by its hash."""
OTHERS = (
    *REFERENCES,
    "seconds",
    "size",
    "lora",
    "extra_params",
    "enable_frame_interpolation",
    "frame_interpolation_exp",
)
MAX_FIELD = 1 << 20
MOST_DOUBLINGS = 4
"""The most that ``frame_interpolation_exp`` may be: sixteen frames for one."""


def videos_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter(prefix="/v1/videos")
    queue = service.queue

    def known(name: str) -> Job:
        job = queue.job(name)
        if job is None:
            raise Refused(404, "There is no such video.")
        return job

    async def submitted(request: Request) -> Job:
        given = await _fields_of(request)
        asked = await _request_of(given, service)
        plain = {
            name: value
            for name, value in given.items()
            if name not in REFERENCES and not isinstance(value, bytes)
        }
        job, _ = await service.submit(
            asked,
            formats=("mp4",),
            priority=0,
            source=SOURCE,
            client=request.state.client,
            key=request.headers.get("idempotency-key", ""),
            digest_of={**plain, "init": asked.init, "image": asked.image},
        )
        return job

    @router.post("", openapi_extra=body_of("Table"))
    async def create(request: Request) -> dict[str, Any]:
        """Queue a video."""
        return video_as_json(await submitted(request))

    @router.post(
        "/sync", openapi_extra=body_of("Table"), response_class=Response, responses=answers(*MEDIA)
    )
    async def create_and_wait(request: Request) -> Response:
        """Make a video and answer with its bytes."""
        job = check_completed(await finished(service, await submitted(request)))
        return _content(service, job, request)

    @router.api_route("/sync", methods=["GET", "DELETE"], include_in_schema=False)
    async def only_posted() -> Response:
        """Refuse to take the word for the id of a video."""
        raise Refused(405, "This address does not take that method.", headers={"Allow": "POST"})

    @router.get("")
    async def videos(after: str = "", limit: int = 20, order: str = "desc") -> dict[str, Any]:
        """List videos."""
        if not 1 <= limit <= 100 or order not in ("desc", "asc"):
            raise Refused(422, "limit is 1 to 100, and order is desc or asc.")
        found = queue.jobs(source=SOURCE, past=after, limit=limit, oldest_first=order == "asc")
        return {
            "object": "list",
            "data": [video_as_json(job) for job in found],
            "has_more": len(found) == limit,
            "first_id": found[0].id if found else None,
            "last_id": found[-1].id if found else None,
        }

    @router.get("/{name}")
    async def video(name: str) -> dict[str, Any]:
        """Get one video's state."""
        return video_as_json(known(name))

    @router.get("/{name}/content", response_class=Response, responses=answers(*MEDIA))
    async def content(name: str, request: Request, variant: str = "video") -> Response:
        """Get a completed video's file, or with ``variant`` a picture of it."""
        job = known(name)
        if job.state != "completed":
            raise Refused(409, f"The video is {STATUS[job.state]}; wait until it is completed.")
        if variant in ("thumbnail", "spritesheet"):
            kind = "thumbnail" if variant == "thumbnail" else "preview"
            data = queue.picture(job.id, kind)
            if data is None:
                raise Refused(404, "There is no such picture of this video.")
            return Response(data, media_type="image/jpeg")
        if variant != "video":
            raise Refused(422, "variant is video, thumbnail or spritesheet.")
        return _content(service, job, request)

    @router.delete("/{name}")
    async def delete(name: str, request: Request) -> dict[str, Any]:
        """Stop a video if it is being made, and forget it."""
        job = known(name)
        service.logs.audit("removed", {"job": name, "client": request.state.client})
        if job.state not in FINISHED:
            await service.write(lambda: queue.cancel(name))
            for _ in range(100):
                job = queue.job(name) or job
                if job.state in FINISHED:
                    break
                await asyncio.sleep(0.1)
        try:
            await service.write(lambda: queue.remove(name))
        except Conflict:
            raise Refused(
                409, "The video is being cancelled; delete it again in a moment."
            ) from None
        return {"id": name, "object": "video.deleted", "deleted": True}

    return router


def video_as_json(job: Job) -> dict[str, Any]:
    """One job in the words of this API."""
    request = {**job.request, **(dict(job.outcome.resolved) if job.outcome else {})}
    width, height = request.get("width"), request.get("height")
    frames, rate = request.get("num_frames"), request.get("fps")
    done = job.state == "completed"
    fraction = fraction_of(job.stage, job.step, job.steps) if job.state == "running" else 0.0
    found: dict[str, Any] = {
        "id": job.id,
        "object": "video",
        "model": request.get("model") or "emoji",
        "status": STATUS[job.state],
        "progress": 100 if done else int(100 * fraction),
        "created_at": int(job.created),
        "completed_at": int(job.finished) if done and job.finished else None,
        "prompt": request.get("prompt", ""),
        "size": f"{width}x{height}" if width and height else None,
        "seconds": _seconds(frames, rate),
        "error": None,
    }
    if job.state == "failed" and job.failure is not None:
        found["error"] = {"code": str(job.failure.code), "message": job.failure.detail}
    return found


def _seconds(frames: Any, rate: Any) -> str | None:
    from fractions import Fraction

    if not frames:
        return None
    return f"{float(frames / Fraction(str(rate or RATE))):g}"


def _content(service: Service, job: Job, request: Request) -> Response:
    assert job.outcome is not None
    file = next((f for f in job.outcome.files if f.format == "mp4"), job.outcome.files[0])
    stored = service.store.find(file.hash)
    if stored is None:
        raise Refused(404, "The video has expired.")
    return file_answer(stored, request, download=False, name=job.id)


async def _fields_of(request: Request) -> dict[str, Any]:
    """The fields of a form or of a JSON object; a file is its bytes.

    Raises:
        Refused: there are too many, or a file is empty.
    """
    kind = request.headers.get("content-type", "")
    if not kind.startswith("multipart/form-data"):
        return parse_object(await request.body())
    found: dict[str, Any] = {}
    async with request.form(max_files=1, max_fields=64, max_part_size=MAX_FIELD) as form:
        for name, value in form.multi_items():
            found[name] = value if isinstance(value, str) else await value.read()
    return found


async def _request_of(given: Mapping[str, Any], service: Service) -> AnimationRequest:
    """The request that their fields ask for.

    Raises:
        Refused: one cannot be used.
    """
    fields: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == "" or name in IGNORED:
            continue
        if name in PLAIN:
            field, kind = PLAIN[name]
            fields[field] = _typed(name, value, kind)
        elif name not in OTHERS:
            raise _bad(name[:60], f"The field {name!r:.60} is not supported by this server.")
    _size(given, fields)
    _lora(given, fields)
    _interpolation(given, fields)
    fields |= _table("extra_params", given.get("extra_params"))
    fields |= await _reference(given, service)
    if given.get("seconds") and "num_frames" not in fields:
        seconds = _typed("seconds", given["seconds"], float)
        rate = fields.get("fps", RATE)
        if not isinstance(rate, int | float) or not 0 < rate <= 1000 or not 0 < seconds <= 600:
            raise _bad("seconds", "seconds is a number up to 600, with fps a plain number.")
        fields["num_frames"] = max(1, round(seconds * rate))
    if "seed" not in fields:
        fields["seed"] = -1
    return read_request(fields, names=service.names, has_upload=service.has_upload, at="body")


def _size(given: Mapping[str, Any], fields: dict[str, Any]) -> None:
    if not given.get("size"):
        return
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", str(given["size"]).strip())
    if match is None:
        raise _bad("size", f"size = {given['size']!r:.40} is not WIDTHxHEIGHT, such as 512x512.")
    fields["width"], fields["height"] = int(match[1]), int(match[2])


def _interpolation(given: Mapping[str, Any], fields: dict[str, Any]) -> None:
    """Frames between frames: 2^exponent for one, unless they are switched off."""
    enabled = given.get("enable_frame_interpolation")
    if isinstance(enabled, str):
        enabled = {"true": True, "false": False, "": None}.get(enabled.strip().lower(), enabled)
    if enabled is not None and not isinstance(enabled, bool):
        name = "enable_frame_interpolation"
        raise _bad(name, f"{name} = {enabled!r:.40} is neither true nor false.")
    exponent = given.get("frame_interpolation_exp")
    if exponent in (None, ""):
        exponent = 1 if enabled else 0
    power = _typed("frame_interpolation_exp", exponent, int)
    if not 0 <= power <= MOST_DOUBLINGS:
        raise _bad("frame_interpolation_exp", f"frame_interpolation_exp is 0 to {MOST_DOUBLINGS}.")
    if power and enabled is not False:
        fields["interpolate"] = 2**power


def _lora(given: Mapping[str, Any], fields: dict[str, Any]) -> None:
    lora = _table("lora", given.get("lora"))
    if not lora:
        return
    name = lora.get("name")
    if not isinstance(name, str) or lora.get("path") or lora.get("local_path"):
        raise _bad("lora", "A lora has a name and a scale; paths are not accepted.")
    scale = lora.get("scale", 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not is_finite(scale):
        raise _bad("lora", "The scale of a lora is a number.")
    fields["loras"] = [f"{name}:{scale:g}"]


async def _reference(given: Mapping[str, Any], service: Service) -> dict[str, str]:
    """The picture to animate or the video to begin from, stored as an upload, as fields."""
    data: Any = given.get("input_reference")
    for name, key in (("image_reference", "image_url"), ("video_reference", "video_url")):
        if given.get(name):
            if data:
                raise _bad(name, "Give one reference only.")
            data = decoded(str(_table(name, given[name]).get(key, "")), name=name)
    if not data:
        return {}
    if isinstance(data, str):
        data = decoded(data, name="input_reference")
    if not isinstance(data, bytes):
        raise _bad("input_reference", "input_reference is a file of a form, or text in base64.")
    upload = await stored(data, service)
    return {"image" if upload["still"] else "init": upload["hash"]}


async def stored(data: bytes, service: Service) -> dict[str, Any]:
    """Store bytes as an upload; returns what it is.

    Raises:
        Refused: they are no picture or video, or too large.
    """
    if len(data) > service.settings.limits.upload_bytes or not service.store.has_room(len(data)):
        raise Refused(413, "The picture or video is too large.")
    with service.store.temporary() as path:
        with writing(path) as file:
            file.write(data)
        return await store_upload(
            path, store=service.store, inspector=service.inspector, write=service.write
        )


def decoded(text: str, *, name: str) -> bytes:
    """The bytes of base64, with or without ``data:...;base64,`` before it.

    Raises:
        Refused: it is an address, or no base64.
    """
    if re.match(r"\s*(https?|ftp|file)://", text, re.IGNORECASE):
        raise _bad(name, "Addresses are not fetched; send the bytes, in base64.")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise _bad(name, f"{name} is not base64.") from None


def _table(name: str, value: Any) -> dict[str, Any]:
    """An object, or the text of one in JSON."""
    if value in (None, ""):
        return {}
    if isinstance(value, str):
        try:
            value = value_of(value)
        except GivenTwice as error:
            raise _bad(name, f"{name} gives {str(error)!r:.60} twice.") from None
        except ValueError:
            raise _bad(name, f"{name} is not JSON.") from None
    if not isinstance(value, dict):
        raise _bad(name, f"{name} is not a JSON object.")
    return typing.cast("dict[str, Any]", value)


def _typed(name: str, value: Any, kind: type) -> Any:
    """A value of a form, which is always text, or of JSON."""
    if kind is str:
        if isinstance(value, str):
            return value
    elif isinstance(value, str):
        if kind is int and re.fullmatch(r"-?\d{1,20}", value.strip()):
            return int(value)
        if kind is float and re.fullmatch(r"-?\d{1,9}(\.\d{1,12})?", value.strip()):
            number = float(value)
            return int(number) if number.is_integer() else number
    elif _is_number(value, whole=kind is int):
        return value
    what = {str: "text", int: "a whole number", float: "a number"}[kind]
    raise _bad(name, f"{name} = {value!r:.40} is not {what}.")


def _is_number(value: Any, *, whole: bool) -> bool:
    kinds = (int,) if whole else (int, float)
    return isinstance(value, kinds) and not isinstance(value, bool) and is_finite(value)


def _bad(field: str, detail: str) -> Refused:
    return Refused(422, detail, errors=[FieldError(field, detail)])
