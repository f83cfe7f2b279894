"""The ASGI application of one service: routes, the page's files, and the gate around them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import Match, Mount
from starlette.types import ASGIApp

from animatediff.apps.server.answers.head import Head
from animatediff.apps.server.answers.openapi import describe
from animatediff.apps.server.answers.problems import FieldError, Refused, problem, refusal_of
from animatediff.apps.server.gate import Gate
from animatediff.apps.server.queue.jobs import Conflict, Full
from animatediff.apps.server.routes.a1111 import a1111_routes
from animatediff.apps.server.routes.datasets import dataset_routes
from animatediff.apps.server.routes.inspection import inspection_routes
from animatediff.apps.server.routes.native import native_routes
from animatediff.apps.server.routes.runs import run_routes
from animatediff.apps.server.routes.supervision import supervision_routes
from animatediff.apps.server.routes.videos import videos_routes
from animatediff.apps.server.service import Service
from animatediff.errors import FileError, InputError, MemoryLimitError, OutputError

PAGE = Path(__file__).resolve().parent / "page"


class Background(Protocol):
    """Something that runs beside the server, such as the supervisor of workers."""

    async def run(self) -> None:
        """Run until cancelled."""
        ...


def create_app(service: Service, *, background: Sequence[Background] = ()) -> ASGIApp:
    """The application of one service.

    Args:
        service: what the routes share.
        background: runs as long as the application does.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        tasks = [asyncio.create_task(each.run()) for each in (service.broker, *background)]
        yield
        service.broker.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    from animatediff.apps.cli import version

    app = FastAPI(
        title="animatediff",
        version=version(),
        summary="Animations from text.",
        lifespan=lifespan,
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
    )
    app.include_router(native_routes(service))
    app.include_router(inspection_routes(service))
    app.include_router(dataset_routes(service))
    app.include_router(run_routes(service))
    app.include_router(supervision_routes(service))
    app.include_router(videos_routes(service))
    app.include_router(a1111_routes(service))
    if PAGE.is_dir():
        app.mount("/", StaticFiles(directory=PAGE, html=True))
    describe(app)

    @app.exception_handler(HTTPException)
    async def refused_by_framework(request: Request, error: HTTPException) -> Response:
        status, headers = error.status_code, dict(error.headers or {})
        if status in (404, 405):
            # The page's files, at every other address, answer before a route of another method does.
            allowed = _allowed(app, request)
            status = 405 if allowed else status
            headers |= {"Allow": ", ".join(allowed or ["GET", "HEAD"])} if status == 405 else {}
        return problem(Refused(status, _sentence(status), headers=headers), path=request.url.path)

    @app.exception_handler(RequestValidationError)
    async def refused_by_type(request: Request, error: RequestValidationError) -> Response:
        errors = [
            FieldError(".".join(str(part) for part in each["loc"][1:]), f"{each['msg']}.")
            for each in error.errors()
        ]
        refused = Refused(422, "A value in the address cannot be used.", errors=errors)
        return problem(refused, path=request.url.path)

    @app.exception_handler(Refused)
    @app.exception_handler(Full)
    @app.exception_handler(Conflict)
    @app.exception_handler(InputError)
    @app.exception_handler(FileError)
    @app.exception_handler(MemoryLimitError)
    @app.exception_handler(OutputError)
    @app.exception_handler(Exception)
    async def refused(request: Request, error: Exception) -> Response:
        return problem(refusal_of(error), path=request.url.path)

    gate = Gate(Head(app), settings=service.settings, logs=service.logs)
    app.state.check_token = gate.check
    return gate


def _allowed(app: FastAPI, request: Request) -> list[str]:
    """The methods that the routes of an address take; none if there is no route."""
    spelled = app.openapi()["paths"].get(request.url.path)
    if spelled is not None:  # such as /v1/videos/sync, which is no id of a video
        found = [method.upper() for method in spelled]
    else:
        found = [
            method
            for method in ("GET", "POST", "PATCH", "DELETE")
            if any(
                route.matches({**request.scope, "method": method})[0] is Match.FULL
                for route in app.router.routes
                if not isinstance(route, Mount)
            )
        ]
    return ["HEAD", *found] if "GET" in found else found


def _sentence(status: int) -> str:
    return {
        404: "There is nothing at this address.",
        405: "This address does not take that method.",
    }.get(status, "The request cannot be answered.")
