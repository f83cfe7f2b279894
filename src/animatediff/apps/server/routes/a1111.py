"""``/sdapi/v1``: what programs written for AUTOMATIC1111's web interface call, over the same queue."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from animatediff.apps.server.a1111 import (
    LISTED_SAMPLERS,
    Translated,
    count_of,
    numbered,
    translate,
)
from animatediff.apps.server.answers.as_json import API, without_defaults
from animatediff.apps.server.answers.openapi import body_of, file_body
from animatediff.apps.server.answers.problems import FieldError, Refused
from animatediff.apps.server.answers.waiting import check_completed, finished
from animatediff.apps.server.incoming.infotext import INFOTEXT, settings_of
from animatediff.apps.server.incoming.infotext_request import request_of
from animatediff.apps.server.incoming.outside import parse_object, read_request
from animatediff.apps.server.incoming.reading import own_request, texts_of
from animatediff.apps.server.incoming.uploads import HEAD, kind_of, received
from animatediff.apps.server.queue.job import Job, fraction_of
from animatediff.apps.server.queue.store import writing
from animatediff.apps.server.routes.videos import decoded, stored
from animatediff.apps.server.service import Service
from animatediff.errors import FileError, InputError
from animatediff.sampling.request import AnimationRequest

SOURCE = "a1111"
PREFIX = "/sdapi/v1"


def a1111_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter()
    queue = service.queue

    async def make(request: Request, payload: dict[str, Any], picture: str) -> Response:
        translated = translate(payload, picture=picture, film=_film(service))
        first = read_request(
            translated.fields, names=service.names, has_upload=service.has_upload, at="body"
        )
        jobs: list[Job] = []
        for seed in numbered(first.seed, count_of(payload)):
            fields = {**translated.fields, "seed": seed}
            asked = read_request(fields, names=service.names, has_upload=service.has_upload)
            job, _ = await service.submit(
                asked,
                formats=translated.formats,
                priority=0,
                source=SOURCE,
                client=request.state.client,
                key="",
                digest_of=fields,
            )
            jobs.append(job)
        done = [check_completed(await finished(service, job)) for job in jobs]
        return await anyio.to_thread.run_sync(_answer, service, payload, translated, done)

    @router.post(f"{PREFIX}/txt2img", openapi_extra=body_of("Table"))
    async def txt2img(request: Request) -> Response:
        """Make an animation or a picture from text, and answer with it in base64."""
        return await make(request, parse_object(await request.body()), "")

    @router.post(f"{PREFIX}/img2img", openapi_extra=body_of("Table"))
    async def img2img(request: Request) -> Response:
        """Make an animation or a picture from a picture."""
        payload = parse_object(await request.body())
        pictures = payload.get("init_images")
        if not isinstance(pictures, list) or len(pictures) != 1 or not isinstance(pictures[0], str):
            detail = "init_images is a list of one picture in base64."
            raise Refused(422, detail, errors=[FieldError("init_images", detail)])
        picture = await stored(decoded(pictures[0], name="init_images"), service)
        return await make(request, payload, picture["hash"])

    @router.get(f"{PREFIX}/progress")
    async def progress(skip_current_image: bool = False) -> dict[str, Any]:
        """Get how far the current job is."""
        running = queue.running()
        job = next((job for job in running if job.source == SOURCE), None)
        job = job or (running[0] if running else None)
        if job is None:
            return _progress(0.0, 0.0, {}, None)
        fraction = fraction_of(job.stage, job.step, job.steps)
        spent = time.time() - (job.started or time.time())
        left = spent * (1 - fraction) / fraction if fraction else 0.0
        picture = None if skip_current_image else queue.picture(job.id, "preview")
        state = {
            "job": job.id,
            "job_count": 1 + queue.counts().get("queued", 0),
            "sampling_step": job.step,
            "sampling_steps": job.steps,
            "interrupted": job.cancelling,
        }
        text = base64.b64encode(picture).decode() if picture else None
        return _progress(fraction, left, state, text)

    @router.post(f"{PREFIX}/interrupt")
    async def interrupt(request: Request) -> dict[str, Any]:
        """Stop the running jobs of this API."""
        for job in queue.running():
            if job.source == SOURCE:
                service.logs.audit("cancelled", {"job": job.id, "client": request.state.client})
                await service.write(lambda name=job.id: queue.cancel(name))
        return {}

    @router.get(f"{PREFIX}/sd-models")
    def models() -> list[dict[str, Any]]:
        """List image models."""
        return [
            {
                "title": name,
                "model_name": name,
                "hash": None,
                "sha256": None,
                "filename": name,
                "config": None,
            }
            for name in _names(service, "model")
        ]

    @router.get(f"{PREFIX}/sd-vae")
    def autoencoders() -> list[dict[str, Any]]:
        """List autoencoders."""
        return [{"model_name": name, "filename": name} for name in _names(service, "vae")]

    @router.get(f"{PREFIX}/loras")
    def loras() -> list[dict[str, Any]]:
        """List LoRAs."""
        return [
            {"name": name, "alias": name, "path": name, "metadata": {}}
            for name in _names(service, "lora")
        ]

    @router.get(f"{PREFIX}/embeddings")
    def embeddings() -> dict[str, Any]:
        """List textual inversions."""
        return {"loaded": {name: {} for name in _names(service, "embedding")}, "skipped": {}}

    @router.get(f"{PREFIX}/samplers")
    async def samplers() -> list[dict[str, Any]]:
        """List samplers."""
        return [
            {"name": name, "aliases": list(aliases), "options": {}}
            for name, aliases in LISTED_SAMPLERS.items()
        ]

    @router.get(f"{PREFIX}/options")
    async def options() -> dict[str, Any]:
        """Get what is used if a body says nothing else."""
        return {
            "sd_model_checkpoint": "emoji",
            "sd_vae": "Automatic",
            "CLIP_stop_at_last_layers": 1,
        }

    @router.post(f"{PREFIX}/options", openapi_extra=body_of("Table"))
    async def set_options(request: Request) -> dict[str, Any]:
        """Refuse to keep settings between requests."""
        await request.body()
        raise Refused(
            422,
            "Settings are not kept between requests; send them as override_settings in each body.",
        )

    @router.post(f"{PREFIX}/png-info", openapi_extra=body_of("Picture"))
    async def png_info(request: Request) -> dict[str, Any]:
        """Get the settings that a picture or animation carries."""
        image = parse_object(await request.body()).get("image")
        if not isinstance(image, str):
            raise Refused(422, "image is not a picture in base64.")
        data = decoded(image, name="image")
        with service.store.temporary() as path:
            with writing(path) as file:
                file.write(data)
            texts = await _read(path)
        infotext = texts.get(INFOTEXT, "")
        settings, prompt, negative = settings_of(infotext) if infotext else ({}, "", "")
        parameters = {"Prompt": prompt, "Negative prompt": negative, **settings}
        return {"info": infotext, "items": texts, "parameters": parameters if infotext else {}}

    @router.post(f"{API}/settings", openapi_extra=file_body())
    async def settings(request: Request) -> dict[str, Any]:
        """Read the settings that a file carries: of this program, or of A1111."""
        most = service.settings.limits.upload_bytes
        async with received(request, store=service.store, most=most) as path:
            texts = await _read(path)
        return settings_in(texts, film=_film(service))

    return router


async def _read(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        if kind_of(file.read(HEAD)) is None:
            raise Refused(415, "The file is not a PNG, JPEG, GIF, WebP, MP4 or WebM.")
    try:
        return await anyio.to_thread.run_sync(texts_of, path)
    except FileError as error:
        raise Refused(422, str(error)) from None


def settings_in(texts: Mapping[str, str], *, film: str) -> dict[str, Any]:
    """The settings in the texts of a file, as fields of a request.

    Args:
        texts: of the file, by name.
        film: the name of a FILM network; empty if there is none.

    Raises:
        Refused: there are none.
    """
    ours = own_request(texts)
    if ours is not None:
        try:
            request = AnimationRequest.from_table(ours)
        except InputError as error:
            raise Refused(422, f"The file carries a request that cannot be used: {error}") from None
        fields = without_defaults(request.as_table())
        return {"request": fields, "source": "animatediff", "notes": []}
    if texts.get(INFOTEXT):
        fields, notes = request_of(texts[INFOTEXT], film=film)
        return {"request": fields, "source": "a1111", "notes": notes}
    raise Refused(422, "The file carries no settings of this program or of A1111.")


def _names(service: Service, role: str) -> list[str]:
    return [model.name for model in service.names.all() if model.role == role]


def _film(service: Service) -> str:
    """The name of a FILM network in the model folders; empty if there is none."""
    return next((name for name in _names(service, "interpolator") if "film" in name.lower()), "")


def _progress(
    fraction: float, left: float, state: Mapping[str, Any], picture: str | None
) -> dict[str, Any]:
    plain = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": 0,
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    return {
        "progress": fraction,
        "eta_relative": round(left, 2),
        "state": {**plain, **state},
        "current_image": picture,
        "textinfo": None,
    }


def _answer(
    service: Service, payload: Mapping[str, Any], translated: Translated, jobs: list[Job]
) -> Response:
    """Every file of every job in base64, and what is to be known of them."""
    images: list[str] = []
    seeds: list[int] = []
    notes: dict[str, None] = dict.fromkeys(translated.notes)
    for job in jobs:
        assert job.outcome is not None
        notes |= dict.fromkeys(job.outcome.notes)
        seeds.append(int(job.outcome.resolved["seed"]))
        for file in job.outcome.files:
            found = service.store.find(file.hash)
            if found is None:
                raise Refused(404, "A result has expired; ask again.")
            images.append(base64.b64encode(found.path.read_bytes()).decode())
    resolved = jobs[0].outcome.resolved if jobs[0].outcome else {}
    info = {
        "prompt": resolved.get("prompt", ""),
        "negative_prompt": resolved.get("negative_prompt", ""),
        "seed": seeds[0],
        "all_seeds": seeds,
        "width": resolved.get("width"),
        "height": resolved.get("height"),
        "steps": resolved.get("steps"),
        "cfg_scale": resolved.get("guidance"),
        "sampler_name": payload.get("sampler_name") or payload.get("sampler_index") or "Euler",
        "job_ids": [job.id for job in jobs],
        "notes": list(notes),
        "request_id": translated.request_id,
    }
    parameters = {name: value for name, value in payload.items() if name != "init_images"}
    if payload.get("send_images") is False:
        images = []
    return JSONResponse({"images": images, "parameters": parameters, "info": json.dumps(info)})
