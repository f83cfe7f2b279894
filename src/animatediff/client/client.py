"""The client: one method for each call of the native API, and one to wait for a job."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from animatediff.client.errors import ApiError, JobFailed
from animatediff.client.values import (
    Event,
    Job,
    Model,
    Progress,
    Result,
    StoredSettings,
    Upload,
    read_value,
)

API = "/api/v1"
MOST_WAIT = 60.0
"""The longest time to wait at once before a call is repeated."""


class Client:
    """A client of one server. Use it in a ``with`` block, or close it.

    Args:
        url: the server's address.
        token: if it needs one.
        timeout: seconds until an answer must begin.
        patience: seconds for which a call is repeated while the queue is full; waiting for a job goes
            on for as long while the server is away.
        transport: how requests are sent, for tests.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8188",
        *,
        token: str = "",
        timeout: float = 30.0,
        patience: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.patience = patience
        self._http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=timeout,
            transport=transport,
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- jobs -------------------------------------------------------------------------------------

    def submit(
        self,
        prompt: str,
        *,
        settings: Mapping[str, Any] | None = None,
        formats: Sequence[str] = ("mp4",),
        priority: int = 0,
        key: str = "",
    ) -> Job:
        """Queue an animation. The call is repeated while the queue is full, and never queues twice.

        Args:
            prompt: what to draw.
            settings: further fields of the request, such as ``{"seed": 7, "steps": 20}``.
            formats: of the results.
            priority: higher runs earlier.
            key: two calls with the same key queue one job; a new key if empty.

        Raises:
            ApiError: the request cannot be used, or the queue stays full.
        """
        body = {
            "request": {**(settings or {}), "prompt": prompt},
            "formats": list(formats),
            "priority": priority,
        }
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return Job.of(self._call("POST", "/jobs", json=body, headers=headers))

    def job(self, name: str) -> Job:
        """Get a job.

        Raises:
            ApiError: there is none of that id.
        """
        return Job.of(self._call("GET", f"/jobs/{_quoted(name)}"))

    def jobs(self, *, states: Sequence[str] = (), limit: int = 50) -> list[Job]:
        """List jobs, the newest first."""
        parameters: dict[str, Any] = {"limit": limit}
        if states:
            parameters["state"] = ",".join(states)
        answer = self._call("GET", "/jobs", params=parameters)
        return [Job.of(each) for each in answer["jobs"]]

    def cancel(self, name: str) -> Job:
        """Stop a job; a finished one stays as it is."""
        return Job.of(self._call("POST", f"/jobs/{_quoted(name)}/cancel"))

    def retry(self, name: str) -> Job:
        """Queue a failed or cancelled job again."""
        return Job.of(self._call("POST", f"/jobs/{_quoted(name)}/retry"))

    def remove(self, name: str) -> None:
        """Forget a finished job and its results."""
        self._call("DELETE", f"/jobs/{_quoted(name)}")

    def pause(self, *, paused: bool = True) -> None:
        """Pause the queue, or let it go on."""
        self._call("PATCH", "/queue", json={"paused": paused})

    def wait(
        self,
        name: str,
        *,
        on_progress: Callable[[Progress], None] = lambda _: None,
        on_preview: Callable[[bytes], None] | None = None,
    ) -> Job:
        """Wait until a job is completed; a lost connection is opened again.

        Args:
            name: the job's id.
            on_progress: called for every step.
            on_preview: called with a JPEG of all frames whenever there is a new one.

        Raises:
            JobFailed: the job failed or was cancelled.
            ApiError: there is no such job, or the server stays away.
        """
        after: int | None = None
        away = 0.0
        while True:
            try:
                for event in self.events(name, after=after):
                    after, away = event.number, 0.0
                    if event.kind == "progress":
                        on_progress(read_value(Progress, event.data))
                    elif event.kind == "preview" and on_preview is not None:
                        on_preview(self._bytes(str(event.data["url"])))
                    elif event.kind == "removed":
                        raise JobFailed(name, "cancelled", f"The job {name} was deleted.")
                job = self.job(name)  # a server that stops ends the events first
            except ApiError as error:
                if error.status not in (0, 429, 503) or away > self.patience:
                    raise
                away += _pause(1.0)
                continue
            if job.state == "completed":
                return job
            if job.finished:
                detail = job.error or f"The job {name} was {job.state}."
                raise JobFailed(name, job.state, detail)
            away += _pause(0.2)

    def events(self, name: str = "", *, after: int | None = None) -> Iterator[Event]:
        """Follow the events of one job until it ends, or of all jobs.

        Args:
            name: the job's id; all jobs if empty.
            after: the number of the last event that is known.

        Raises:
            ApiError: the server refused, or the connection was lost.
        """
        path = f"{API}/jobs/{_quoted(name)}/events" if name else f"{API}/events"
        headers = {"Accept": "text/event-stream"}
        if after is not None:
            headers["Last-Event-ID"] = str(after)
        try:
            with self._http.stream("GET", path, headers=headers, timeout=None) as answer:
                if answer.is_error:
                    answer.read()
                    raise _error_of(answer)
                yield from _events(answer.iter_lines())
        except httpx.TransportError as error:
            raise ApiError(0, f"The connection to the server was lost: {error}.") from error

    # --- files ------------------------------------------------------------------------------------

    def download(self, result: Result, path: str | Path) -> Path:
        """Write a result to a file, which is complete or absent; returns its path.

        Raises:
            ApiError: the result is gone.
            OSError: the file cannot be written.
        """
        target = Path(path)
        temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
        try:
            with self._http.stream("GET", result.url) as answer, temporary.open("wb") as file:
                if answer.is_error:
                    answer.read()
                    raise _error_of(answer)
                for piece in answer.iter_bytes():
                    file.write(piece)
            temporary.replace(target)
        except httpx.TransportError as error:
            raise ApiError(0, f"The connection to the server was lost: {error}.") from error
        finally:
            temporary.unlink(missing_ok=True)
        return target

    def read(self, result: Result) -> bytes:
        """The bytes of a result."""
        return self._bytes(result.url)

    def upload(self, file: str | Path | bytes) -> Upload:
        """Store an input; a request names it by its hash.

        Raises:
            ApiError: it is no picture or video, or too large.
        """
        return read_value(
            Upload, self._call("POST", "/uploads", content=_bytes_of(file), headers=_BINARY)
        )

    def remove_upload(self, name: str) -> None:
        """Delete an upload that no job uses, by its hash.

        Raises:
            ApiError: there is no such upload, or a job uses it.
        """
        self._call("DELETE", f"/uploads/{_quoted(name)}")

    def settings_of(self, file: str | Path | bytes) -> StoredSettings:
        """Read the settings that an animation or picture stores, ours or of A1111.

        Raises:
            ApiError: it stores none.
        """
        answer = self._call("POST", "/settings", content=_bytes_of(file), headers=_BINARY)
        return StoredSettings(answer["request"], answer["source"], tuple(answer["notes"]))

    def models(self) -> list[Model]:
        """List the models that a request may name."""
        rows = self._call("GET", "/models")
        return [read_value(Model, row) for row in rows]

    def options(self) -> dict[str, Any]:
        """The option fields in groups, as ``docs/guides/server.md`` describes them."""
        return self._call("GET", "/options")

    # --- inside -----------------------------------------------------------------------------------

    def _call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        waited = 0.0
        while True:
            try:
                answer = self._http.request(
                    method,
                    API + path,
                    json=json,
                    content=content,
                    params=params,
                    headers=dict(headers or {}),
                )
            except httpx.TransportError as error:
                raise ApiError(0, f"The server does not answer: {error}.") from error
            if answer.status_code != 429 or waited >= self.patience:
                break
            waited += _pause(_retry_after(answer))
        if answer.is_error:
            raise _error_of(answer)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            raise ApiError(
                answer.status_code,
                f"{answer.url} answers with something else than JSON; check that it is the address of "
                "`animatediff serve`.",
            ) from None

    def _bytes(self, url: str) -> bytes:
        try:
            answer = self._http.get(url)
        except httpx.TransportError as error:
            raise ApiError(0, f"The server does not answer: {error}.") from error
        if answer.is_error:
            raise _error_of(answer)
        return answer.content


_BINARY = {"Content-Type": "application/octet-stream"}


def _pause(seconds: float) -> float:
    seconds = min(max(seconds, 0.05), MOST_WAIT)
    time.sleep(seconds)
    return seconds


def _retry_after(answer: httpx.Response) -> float:
    """Seconds to wait before a call is repeated; a proxy may name a date, which counts as one."""
    try:
        return float(answer.headers.get("Retry-After", "1"))
    except ValueError:
        return 1.0


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _bytes_of(file: str | Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def _error_of(answer: httpx.Response) -> ApiError:
    """The error that a problem of RFC 9457 describes; other servers and proxies answer otherwise."""
    plain = ApiError(answer.status_code, f"The server answered {answer.status_code}.")
    try:
        problem: Any = answer.json()
        detail = problem.get("detail") or str(plain)
        fields = {each["field"]: each["detail"] for each in problem.get("errors", ())}
    except (ValueError, AttributeError, KeyError, TypeError):
        return plain
    return ApiError(answer.status_code, str(detail), fields)


def _events(lines: Iterator[str]) -> Iterator[Event]:
    """Parse server-sent events; comments that keep the connection alive are skipped."""
    fields: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            continue
        if line:
            name, _, value = line.partition(":")
            fields[name] = value.removeprefix(" ")
        elif fields:
            if fields.get("data") and fields.get("id", "").isdigit():
                yield Event(int(fields["id"]), fields.get("event", ""), json.loads(fields["data"]))
            fields = {}
