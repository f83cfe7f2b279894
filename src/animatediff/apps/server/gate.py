"""The gate: what every request passes before a route sees it.

Browsers reach services on 127.0.0.1, and a page of a stranger may send requests there. So the name in
``Host`` must be one of the service's own (against rebinding), ``Origin`` and ``Sec-Fetch-Site`` must
be the service's own (against forged requests), and there is no CORS. Then come the token, the rate,
and the size and time of bodies. A plain ASGI application, so that streams pass through it untouched.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from animatediff.apps.server.answers.problems import Refused, problem, refusal_of
from animatediff.apps.server.logs import Logs
from animatediff.apps.server.settings import Settings

COOKIE = "animatediff_token"
OPEN_PATHS = ("/healthz", "/readyz", "/api/v1/session")
"""What needs no token: whether the service is alive, and the way to send one."""
GUARDED = ("/api/", "/v1/", "/sdapi/", "/metrics", "/internal/")
"""Paths that need a token; all others are the page's own files, which hold nothing."""
READING = ("GET", "HEAD", "OPTIONS")
BODY_TYPES = (
    "application/json",
    "multipart/form-data",
    "application/octet-stream",
    "image/",
    "video/",
)
LARGE_PATHS = ("/api/v1/uploads", "/api/v1/settings", "/api/v1/inspect", "/v1/videos")
A1111_BYTES = 64 << 20
"""Pictures come as base64 in JSON there."""
AUDITED = (401, 403, 421)
"""Refusals that may be attempts to get in."""
MAX_CLIENTS = 10_000
MAX_TOKEN = 4096

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Gate:
    """An ASGI application that admits requests to another.

    Args:
        app: the other.
        settings: of the service.
        logs: where requests are noted.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, logs: Logs) -> None:
        self.app = app
        self.settings = settings
        self.logs = logs
        self._token = _digest(settings.token)
        self._rates = Rates(settings.limits.rate, settings.limits.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit one request, or answer it with a problem."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return  # no WebSockets
        began, status, started, whole = time.perf_counter(), 500, False, False

        async def noted_send(message: Message) -> None:
            nonlocal status, started, whole
            if message["type"] == "http.response.body":
                whole = not message.get("more_body", False)
            if message["type"] == "http.response.start":
                status, started = message["status"], True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                # The page's files are asked for anew each time, so that an upgrade is seen at once.
                guarded = scope["path"].startswith(GUARDED)
                headers.setdefault("cache-control", "no-store" if guarded else "no-cache")
            await send(message)

        try:
            admitted = self._admit(scope, receive)
            await self.app(scope, admitted, noted_send)
        except (asyncio.CancelledError, ClientGone):
            status = 499
            raise
        except Exception as error:
            if started:
                self.logs.failure(error, path=scope["path"])
                if not whole:
                    raise  # so that the connection is closed, and half an answer not taken for whole
                return
            refused = refusal_of(error)
            if refused.status in AUDITED:
                facts = {"status": refused.status, "path": scope["path"][:200]}
                self.logs.audit("refused", {"client": _client_of(scope), **facts})
            if refused.status == 500:
                self.logs.failure(error, path=scope["path"])
            await problem(refused, path=scope["path"])(scope, receive, noted_send)
        finally:
            self.logs.request(scope, status=status, seconds=time.perf_counter() - began)

    def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """The way to read the body of a request that may pass.

        Raises:
            Refused: it may not.
        """
        headers, path, method = Headers(scope=scope), scope["path"], scope["method"]
        scope["state"] = {**scope.get("state", {}), "client": "", "authenticated": False}
        host = self._check_host(headers, scope)
        self._check_origin(headers, method=method, host=host, scheme=scope["scheme"])
        if path.startswith(GUARDED):
            self._check_token(headers, scope, needed=path not in OPEN_PATHS)
        else:
            scope["state"]["client"] = _client_of(scope)
        self._check_rate(str(scope["state"]["client"]))
        return self._limited(headers, scope, receive)

    def _check_host(self, headers: Headers, scope: Scope) -> str:
        hosts = headers.getlist("host")
        host = hosts[0].strip().lower() if len(hosts) == 1 else ""
        if not scope["path"].startswith("/") or not scope.get("raw_path", b"/").startswith(b"/"):
            raise Refused(421, "The address is not one of this server; send a path.")
        if not host or not self._is_own(_name_of(host)):
            raise Refused(
                421, "The Host is not a name of this server; start it with --hostname to add one."
            )
        return host

    def _is_own(self, name: str) -> bool:
        if name in ("localhost", "127.0.0.1", "::1", self.settings.address, *self.settings.hosts):
            return True
        if self.settings.is_local:
            return False
        # A number cannot be rebound to another machine, as a name can.
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _check_origin(self, headers: Headers, *, method: str, host: str, scheme: str) -> None:
        origin = headers.get("origin")
        # Behind a proxy with TLS the page's scheme is https, whatever this server sees.
        if origin is not None and origin.lower() not in (f"{scheme}://{host}", f"https://{host}"):
            raise Refused(403, "Requests from pages of other origins are refused.")
        site = headers.get("sec-fetch-site", "none")
        if site not in ("same-origin", "none") and (
            method not in READING or headers.get("sec-fetch-mode") != "navigate"
        ):
            raise Refused(403, "Requests from pages of other sites are refused.")

    def _check_token(self, headers: Headers, scope: Scope, *, needed: bool) -> None:
        given = _given_token(headers)
        right = not self.settings.token or hmac.compare_digest(_digest(given), self._token)
        scope["state"]["authenticated"] = right
        # One token is one client; without tokens, an address is.
        scope["state"]["client"] = "token" if self.settings.token and right else _client_of(scope)
        if needed and not right:
            # A bucket of its own: a guesser must not keep others at the address from signing in.
            self._check_rate(f"refused {_client_of(scope)}")
            raise Refused(
                401,
                "A token is needed; send it as Authorization: Bearer, or enter it on the page.",
                headers={"WWW-Authenticate": 'Bearer realm="animatediff"'},
            )

    def _check_rate(self, client: str) -> None:
        wait = self._rates.wait(client)
        if wait:
            raise Refused(
                429,
                "You send requests faster than this server takes them; slow down.",
                headers={"Retry-After": str(wait)},
            )

    def check(self, token: str) -> bool:
        """Whether a token is the right one, in a time that tells nothing about it."""
        return hmac.compare_digest(_digest(token), self._token)

    def _limited(self, headers: Headers, scope: Scope, receive: Receive) -> Receive:
        limits = self.settings.limits
        path, method = scope["path"], scope["method"]
        large = path.startswith(LARGE_PATHS)
        most = limits.upload_bytes + (1 << 20) if large else limits.json_bytes
        if path.startswith("/sdapi/"):
            most = A1111_BYTES
        seconds = limits.body_seconds * (10 if large else 1)
        length = headers.get("content-length")
        if length is not None:
            if not length.isascii() or not length.isdigit():
                raise Refused(400, "Content-Length is not a number.")
            if len(length) > 15 or int(length) > most:
                raise Refused(413, f"The body is larger than {most >> 20} MiB, the most accepted.")
        if headers.get("content-encoding", "identity") != "identity":
            raise Refused(415, "Compressed bodies are not accepted; send it as it is.")
        has_body = length not in (None, "0") or "transfer-encoding" in headers
        if method not in READING and has_body:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if not kind.startswith(BODY_TYPES):
                raise Refused(415, "The body is of a type that is not accepted; send JSON.")
        return _bounded(receive, most=most, seconds=seconds)


class ClientGone(Exception):
    """The client closed the connection before its body was whole."""


def _bounded(receive: Receive, *, most: int, seconds: float) -> Receive:
    """Receive a body of at most so many bytes in at most so much time."""
    total, began, whole = 0, time.monotonic(), False

    async def bounded() -> Message:
        nonlocal total, whole
        if whole:  # only the end of the connection can come
            return await receive()
        left = began + seconds - time.monotonic()
        try:
            message = await asyncio.wait_for(receive(), timeout=max(left, 0.01))
        except TimeoutError:
            raise Refused(408, f"The body did not arrive within {seconds:g} s.") from None
        if message["type"] == "http.request":
            total += len(message.get("body", b""))
            if total > most:
                raise Refused(413, f"The body is larger than {most >> 20} MiB, the most accepted.")
            whole = not message.get("more_body", False)
        return message

    return bounded


class Rates:
    """A bucket of requests for each client, refilled at an even rate.

    Args:
        rate: requests a second.
        burst: the size of a bucket.
        clock: seconds.
    """

    def __init__(
        self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, client: str) -> int:
        """Take one request; returns 0, or after how many seconds to try again."""
        now = self._clock()
        level, at = self._buckets.pop(client, (float(self.burst), now))
        level = min(float(self.burst), level + (now - at) * self.rate)
        allowed = level >= 1
        self._buckets[client] = (level - 1 if allowed else level, now)
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else max(1, round((1 - level) / self.rate))


def _given_token(headers: Headers) -> str:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()[: MAX_TOKEN * 2]
    if scheme.lower() == "bearer":
        return value
    if scheme.lower() == "basic":  # programs for A1111 send a name and a password
        try:
            return base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (ValueError, binascii.Error):
            return ""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")[: MAX_TOKEN * 2]).get(COOKIE)
    except CookieError:
        return ""
    return cookie.value if cookie else ""


def _digest(text: str) -> bytes:
    """Of one length for every text, so that comparing tells nothing about the length."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()


def _client_of(scope: Scope) -> str:
    client: Any = scope.get("client")
    return client[0] if client else "local"


def _name_of(host: str) -> str:
    """A host without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host
