"""Errors over HTTP: problem+json (RFC 9457) with one sentence, and never a traceback or a path."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse

from animatediff.apps.server.answers.sentences import without_paths
from animatediff.apps.server.queue.jobs import Conflict, Full
from animatediff.errors import FileError, InputError, MemoryLimitError, OutputError, reason_of

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 5
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""System errors of a disk that is full or read-only, wherever they come from."""


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request.

    Attributes:
        field: its path, such as ``request.steps``.
        detail: one sentence.
    """

    field: str
    detail: str


class Refused(Exception):
    """An answer other than success.

    Args:
        status: of HTTP.
        detail: one sentence that says what to do.
        errors: of single fields.
        headers: to add.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})


def problem(refused: Refused, *, path: str = "") -> JSONResponse:
    """The answer for what was refused.

    Args:
        refused: why.
        path: of the request; clients of the OpenAI-style API also read an ``error`` object.
    """
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(refused.status).phrase,
        "status": refused.status,
        "detail": without_paths(refused.detail),
    }
    if refused.errors:
        body["errors"] = [
            {"field": error.field, "detail": without_paths(error.detail)}
            for error in refused.errors
        ]
    if path.startswith("/v1/"):
        kind = "invalid_request_error" if refused.status < 500 else "server_error"
        body["error"] = {"message": body["detail"], "type": kind, "code": str(refused.status)}
    return JSONResponse(body, refused.status, refused.headers, MEDIA_TYPE)


def refusal_of(error: Exception) -> Refused:
    """What to answer for an error that a handler raised; an unexpected one is only a number."""
    match error:
        case Refused():
            return error
        case Full():
            return Refused(429, str(error), headers={"Retry-After": str(RETRY_SECONDS)})
        case Conflict():
            return Refused(409, str(error))
        case InputError() | FileError():
            return Refused(422, str(error))
        case MemoryLimitError():
            return Refused(507, str(error))
        case OutputError():
            return Refused(507, str(error), headers={"Retry-After": str(RETRY_SECONDS)})
        case OSError(errno=number) if number in NO_ROOM:
            return Refused(
                507,
                f"The server cannot write ({reason_of(error)}); free some space.",
                headers={"Retry-After": str(RETRY_SECONDS)},
            )
        case _:
            return Refused(500, "The server failed at this request; its log has the cause.")
