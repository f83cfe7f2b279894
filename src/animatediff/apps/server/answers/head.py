"""HEAD: the answer to GET without its body (RFC 9110, Sec. 9.3.2), at every address."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """An ASGI application that lets another answer HEAD as if it were GET.

    What the other does is ended once its headers are there, so that a stream that never ends is
    answered too, and no large file is read for nothing.

    Args:
        app: the other.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def without_body(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                answered.set()

        async def answer() -> None:
            await self.app({**scope, "method": "GET"}, receive, without_body)

        working = asyncio.create_task(answer())
        waiting = asyncio.create_task(answered.wait())
        try:
            await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
