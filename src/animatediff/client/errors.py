"""What goes wrong between a client and a server."""

from __future__ import annotations

from collections.abc import Mapping


class ApiError(Exception):
    """The server refused a call, or did not answer.

    Attributes:
        status: of HTTP; 0 if there was no answer.
        detail: one sentence that says what to do.
        fields: what is wrong with each field of a request.
    """

    def __init__(self, status: int, detail: str, fields: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.fields = dict(fields or {})


class JobFailed(Exception):
    """A job that was waited for failed or was cancelled.

    Attributes:
        job: its id.
        state: ``failed`` or ``cancelled``.
    """

    def __init__(self, job: str, state: str, detail: str) -> None:
        super().__init__(detail)
        self.job = job
        self.state = state
