"""Events for open streams: one reader of the database hands each to every stream that wants it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from animatediff.apps.server.answers.as_json import API, job_as_json
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.queue.job import FINISHED
from animatediff.apps.server.queue.jobs import Event, JobQueue

POLL_SECONDS = 0.1
PING_SECONDS = 15.0
MOST_WAITING = 1000
"""Events that a slow stream may leave unread before it is closed; it comes back where it was."""
CLOSED = "closed"


@dataclass(frozen=True)
class Message:
    """One event as it is sent.

    Attributes:
        number: increases by time.
        job: the job; empty for the queue's own.
        kind: of event.
        data: as JSON.
        last: whether the job has ended.
    """

    number: int
    job: str
    kind: str
    data: str
    last: bool = False

    def encode(self) -> bytes:
        """The event in the format of server-sent events."""
        return f"id: {self.number}\nevent: {self.kind}\ndata: {self.data}\n\n".encode()


@dataclass(eq=False)
class _Stream:
    job: str
    messages: asyncio.Queue[Message] = field(
        default_factory=lambda: asyncio.Queue[Message](MOST_WAITING)
    )
    lost: bool = False


class Broker:
    """Reads new events from the queue while anybody listens.

    Args:
        queue: where events are.
        most: streams at one time.
    """

    def __init__(self, queue: JobQueue, *, most: int) -> None:
        self.queue = queue
        self.most = most
        self._streams: set[_Stream] = set()
        self._last = 0
        self._closing = False
        self._arrived = asyncio.Condition()

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self._streams)

    async def run(self) -> None:
        """Read events until cancelled."""
        self._last = self.queue.newest_event()
        while not self._closing:
            await asyncio.sleep(POLL_SECONDS)
            for message in self._new():
                for stream in self._streams:
                    if stream.job in ("", message.job) or not message.job:
                        self._hand(stream, message)

    def close(self) -> None:
        """End every stream, so that the server can stop."""
        self._closing = True
        for stream in self._streams:
            self._hand(stream, Message(self._last, "", CLOSED, "{}", last=True))

    def _new(self) -> list[Message]:
        # A short poll of an index; with no stream the events still move on, so that a stream that
        # opens later begins with now.
        try:
            events = self.queue.events(after=self._last)
        except Exception:  # noqa: BLE001 - a locked or full disk now may be well in a moment
            return []
        if events:
            self._last = events[-1].number
        return self._messages(events) if self._streams else []

    def _messages(self, events: list[Event]) -> list[Message]:
        return [message for event in events if (message := self._message(event)) is not None]

    def _message(self, event: Event) -> Message | None:
        if event.kind == "state":
            job = self.queue.job(event.job)
            if job is None:
                return None
            data = json.dumps(job_as_json(job), ensure_ascii=False)
            return Message(event.number, event.job, "state", data, last=job.state in FINISHED)
        if event.kind == "preview":
            url = f"{API}/jobs/{event.job}/preview?at={event.number}"
            data = json.dumps({"job": event.job, "url": url})
            return Message(event.number, event.job, "preview", data)
        return Message(event.number, event.job, event.kind, event.data, event.kind == "removed")

    def _hand(self, stream: _Stream, message: Message) -> None:
        try:
            stream.messages.put_nowait(message)
        except asyncio.QueueFull:
            stream.lost = True

    async def listen(self, job: str = "", *, after: int | None = None) -> AsyncGenerator[Message]:
        """Events of one job until it ends, or of all jobs without end.

        Args:
            job: its id; empty for all.
            after: the number of the last event that the client has, to begin after it.

        Raises:
            Refused: there are too many streams.
        """
        if len(self._streams) >= self.most:
            raise Refused(429, "Too many event streams are open.", headers={"Retry-After": "5"})
        stream = _Stream(job)
        self._streams.add(stream)
        try:
            sent = 0
            if after is not None:
                for message in self._missed(job, after):
                    sent = message.number
                    yield message
                    if message.last and job:
                        return
            if job and not sent:
                found = self.queue.job(job)
                if found is not None:
                    data = json.dumps(job_as_json(found), ensure_ascii=False)
                    ended = found.state in FINISHED
                    yield Message(self._last, job, "state", data, last=ended)
                    if ended:
                        return
            while not stream.lost and not self._closing:
                message = await stream.messages.get()
                if message.kind == CLOSED:
                    return
                if message.number > sent or not message.number:
                    yield message
                if message.last and job:
                    return
        finally:
            self._streams.discard(stream)

    def _missed(self, job: str, after: int) -> list[Message]:
        events = [
            event
            for event in self.queue.events(after=after)
            if job in ("", event.job) or not event.job
        ]
        return self._messages(events)


async def as_stream(messages: AsyncGenerator[Message]) -> AsyncGenerator[bytes]:
    """Messages as bytes, with a comment every few seconds so that proxies keep the stream open."""
    yield b"retry: 2000\n\n"
    waiting: asyncio.Task[Any] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(messages, None))
            done, _ = await asyncio.wait({waiting}, timeout=PING_SECONDS)
            if not done:
                yield b": still here\n\n"
                continue
            message: Message | None = waiting.result()
            waiting = None
            if message is None:
                return
            yield message.encode()
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting
        await messages.aclose()
