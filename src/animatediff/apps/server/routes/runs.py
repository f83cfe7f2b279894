"""``/api/v1/runs``: training runs in the folder that the server was given, while they go on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from animatediff.apps.server.answers.as_json import API
from animatediff.apps.server.answers.openapi import answers
from animatediff.apps.server.folders import entries, entry_named
from animatediff.apps.server.service import Service

METRICS = "metrics.jsonl"
CLIPS = "clips"
MOST_POINTS = 2000
MOST_CLIPS = 120
_CLIP = re.compile(r"step-(\d+)-\d+\.(webp|gif|png)")
_TYPES = {"webp": "image/webp", "gif": "image/gif", "png": "image/png"}


def run_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter(prefix=API)
    folder = service.settings.runs

    @router.get("/runs")
    def runs() -> dict[str, Any]:
        """List training runs, the one written to last first."""
        found = [entry for entry in entries(folder) if (entry / METRICS).is_file()]
        found.sort(key=lambda entry: (entry / METRICS).stat().st_mtime, reverse=True)
        return {
            "folder": folder is not None,
            "runs": [{"name": entry.name, **_last(entry)} for entry in found],
        }

    @router.get("/runs/{name}")
    def run(name: str, after: int = 0) -> dict[str, Any]:
        """Get a run's points after a step, and its validation clips."""
        entry = entry_named(folder, name, what="training run")
        points = [point for point in _points(entry) if point["step"] > after]
        every = math.ceil(len(points) / MOST_POINTS) or 1
        kept = points[::every] + ([points[-1]] if (len(points) - 1) % every else [])
        clips = [
            {"step": int(match[1]), "url": f"{API}/runs/{name}/clips/{clip.name}"}
            for clip in entries(entry / CLIPS)
            if (match := _CLIP.fullmatch(clip.name))
        ]
        return {**_last(entry), "points": kept, "clips": clips[-MOST_CLIPS:]}

    @router.get(
        "/runs/{name}/clips/{clip}",
        response_class=Response,
        responses=answers(*_TYPES.values(), "application/octet-stream"),
    )
    def clip_of(name: str, clip: str) -> Response:
        """Get a validation clip."""
        path = entry_named(
            entry_named(folder, name, what="training run") / CLIPS, clip, what="clip"
        )
        return FileResponse(
            path, media_type=_TYPES.get(path.suffix[1:], "application/octet-stream")
        )

    return router


def _last(entry: Path) -> dict[str, Any]:
    last = next(_points_of(_tail(entry / METRICS)), {"step": 0, "loss": None})
    return {"step": last["step"], "loss": last["loss"]}


def _points(entry: Path) -> list[dict[str, Any]]:
    try:
        lines = (entry / METRICS).read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    return list(_points_of(lines))


def _points_of(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        # A run that is being written may end in half a line.
        try:
            facts = json.loads(line)
            point = {"step": facts["step"], "loss": facts["loss"], "rate": facts.get("rate")}
        except (ValueError, KeyError, TypeError):
            continue
        if isinstance(point["step"], int):
            yield point


def _tail(path: Path) -> list[str]:
    """The last complete lines of a file, the newest first."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            return file.read().decode("utf-8", "replace").splitlines()[::-1]
    except OSError:
        return []
