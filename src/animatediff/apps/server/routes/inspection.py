"""``/api/v1/inspect``: what a weight file is, from its header alone."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from fastapi import APIRouter, Request

from animatediff.apps.server.answers.as_json import API
from animatediff.apps.server.answers.openapi import file_body
from animatediff.apps.server.answers.problems import Refused, without_paths
from animatediff.apps.server.commands import CommandFailed, output_of
from animatediff.apps.server.incoming.uploads import HEAD, kind_of, received
from animatediff.apps.server.service import Service

MOST_DECLARED = 1 << 40
"""The largest size of a file of which only the header is sent: the rest is a hole, not bytes."""
SECONDS = 60.0
AT_ONCE = 2
"""Files that are inspected at once, each by a process of its own."""
SHOWN = ("kind", "family", "base", "title", "reasons", "holds", "use", "warnings", "also")


def inspection_routes(service: Service) -> APIRouter:
    """The routes of one service."""
    router = APIRouter(prefix=API)
    room = asyncio.Semaphore(AT_ONCE)

    @router.post("/inspect", openapi_extra=file_body())
    async def inspect(request: Request, size: int = 0) -> dict[str, Any]:
        """Identify a weight file; of safetensors, its header and its ``size`` are enough."""
        if not 0 <= size <= MOST_DECLARED:
            raise Refused(422, "size is the number of bytes of the whole file; send it as it is.")
        most = service.settings.limits.upload_bytes
        async with received(request, store=service.store, most=most) as path:
            with path.open("rb") as file:
                media = kind_of(file.read(HEAD))
            if media is not None:
                raise Refused(
                    422,
                    f"The file is a picture or a video ({media.media_type}), not weights; POST it to "
                    "/api/v1/settings to read its settings, or to /api/v1/uploads to use it.",
                )
            if size > path.stat().st_size:
                with path.open("r+b") as file:
                    file.truncate(size)
            try:
                async with room:
                    text = await output_of(["inspect", "--json", str(path)], seconds=SECONDS)
            except CommandFailed as error:
                detail = without_paths(str(error).replace(str(path), "The file"))
                raise Refused(422, detail) from None
        found = json.loads(text)[0]
        return {name: found[name] for name in SHOWN}

    return router
