"""``/api/v1/datasets``: check datasets in the folder that the server was given."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request

from animatediff.apps.server.answers.as_json import API
from animatediff.apps.server.answers.openapi import body_of
from animatediff.apps.server.answers.problems import Refused, without_paths
from animatediff.apps.server.commands import CommandFailed, json_lines
from animatediff.apps.server.folders import entries, entry_named
from animatediff.apps.server.incoming.outside import parse_object
from animatediff.apps.server.service import Service
from animatediff.options.checks import check_integer, check_number

SECONDS = 24 * 3600.0
MOST_ROWS = 500


@dataclass
class Check:
    """One check that runs or is done.

    Attributes:
        state: ``running``, ``completed`` or ``failed``.
        done: clips that were decoded.
        total: of how many.
        detail: why it failed.
        report: what the command printed.
    """

    state: str = "running"
    done: int = 0
    total: int = 0
    detail: str = ""
    report: Mapping[str, Any] = field(default_factory=dict[str, Any])


def dataset_routes(service: Service) -> APIRouter:
    """The routes of one service; one dataset is checked at a time."""
    router = APIRouter(prefix=API)
    folder = service.settings.datasets
    checks: dict[str, Check] = {}
    tasks: set[asyncio.Task[None]] = set()
    turn = asyncio.Lock()

    @router.get("/datasets")
    def datasets() -> dict[str, Any]:
        """List the datasets that may be checked."""
        found = [{"name": entry.name, "checked": entry.name in checks} for entry in entries(folder)]
        return {"folder": folder is not None, "datasets": found}

    @router.post("/datasets/{name}/check", status_code=202, openapi_extra=body_of("DatasetCheck"))
    async def start(name: str, request: Request) -> dict[str, Any]:
        """Decode every clip of a dataset and report problems; nothing is changed."""
        path = entry_named(folder, name, what="dataset")
        body = parse_object(await request.body(), known=("frames", "fps"))
        frames, fps = body.get("frames", 16), _rate(body.get("fps", 8))
        check_integer("frames", frames, least=1, most=1024)
        check_number("fps", fps, least=0.1, most=1000)
        known = checks.get(name)
        if known is not None and known.state == "running":
            return _as_json(known)
        check = checks[name] = Check()
        service.logs.audit("dataset checked", {"client": request.state.client, "dataset": name})
        words = ["--frames", str(frames), "--fps", f"{fps:g}"]
        task = asyncio.create_task(_run(check, path, words, turn))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return _as_json(check)

    @router.get("/datasets/{name}/check")
    def result(name: str) -> dict[str, Any]:
        """Get how far a check is, or its report."""
        if name not in checks:
            raise Refused(404, "That dataset was not checked since the server began.")
        return _as_json(checks[name])

    return router


async def _run(check: Check, path: Path, words: list[str], turn: asyncio.Lock) -> None:
    command = ["dataset", "check", str(path), "--progress", "json", *words]
    try:
        async with turn:
            async for line in json_lines(command, seconds=SECONDS):
                if line.get("event") == "stage":
                    check.total = line.get("total") or 0
                elif line.get("event") == "step":
                    check.done = line["done"]
                elif line.get("event") == "report":
                    check.report = line
        check.state = "completed"
    except CommandFailed as error:
        # A dataset with too many bad clips is reported too: the command ends with an error after it.
        check.state = "completed" if check.report else "failed"
        check.detail = without_paths(str(error).replace(str(path), path.name))
    except asyncio.CancelledError:
        check.state, check.detail = "failed", "The server was stopped."
        raise


def _rate(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        raise Refused(422, f"fps = {value!r:.40} is not a number; send one such as 8.") from None


def _as_json(check: Check) -> dict[str, Any]:
    shown = {"state": check.state, "done": check.done, "total": check.total, "detail": check.detail}
    return {**shown, "report": _summary(check) if check.report else None}


def _summary(check: Check) -> dict[str, Any]:
    report = check.report
    seconds = report["seconds"]
    facts = [
        ["Clips", f"{report['clips']:,}"],
        ["Good", f"{report['good']:,}"],
        ["Frames", f"{report['frames']:,}"],
        ["Minutes", f"{seconds.get('total', 0) / 60:.1f}"],
        ["Frames per second", _most(report["fps"])],
        ["Sizes", _most(report["sizes"])],
        ["Fit for training", "yes" if report["usable"] else "no, too many bad clips"],
    ]
    bad = [{"clip": row["clip"], "reason": without_paths(row["reason"])} for row in report["bad"]]
    alike = [
        {"clip": "", "reason": f"look alike: {', '.join(group)}"} for group in report["duplicates"]
    ]
    concerns = [
        {"clip": "", "reason": f"{name}: {', '.join(keys[:20])}{' …' if len(keys) > 20 else ''}"}
        for name, keys in report["concerns"].items()
    ]
    notes = [{"clip": "", "reason": without_paths(note)} for note in report["notes"]]
    return {
        "facts": facts,
        "bad": bad[:MOST_ROWS],
        "warnings": [*alike, *concerns, *notes][:MOST_ROWS],
    }


def _most(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    more = f" and {len(ordered) - 3} more" if len(ordered) > 3 else ""
    return ", ".join(name for name, _ in ordered[:3]) + more
