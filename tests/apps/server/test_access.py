"""Who may reach the service, and what a stranger can send: S1 to S9 of the reliability tests."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.apps.server.served import Served, limited, until

from animatediff.apps.server.gate import Rates

TOKEN = "a-token-that-nobody-guesses"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service with a token, without workers."""
    limits = limited(body_seconds=1.0, upload_bytes=1 << 20)
    folder = tmp_path_factory.mktemp("guarded")
    with Served(folder, devices=(), token=TOKEN, limits=limits, header_seconds=1.0) as running:
        yield running


def bare(served: Served) -> httpx.Client:
    return httpx.Client(base_url=f"http://127.0.0.1:{served.port}")


def raw(served: Served, data: bytes, *, wait: float = 10.0) -> bytes:
    """What the service answers to these bytes, until it closes or ``wait`` has passed."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=wait) as connection:
        # A service may answer and close before it has read everything; its answer can still be read.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(data)
        parts: list[bytes] = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
                if b"\r\n\r\n" in b"".join(parts):
                    break
        except (TimeoutError, ConnectionResetError):
            pass
        return b"".join(parts)


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


# --- S1: Host -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", "10.0.0.7", "[::2]:80", ""]
)
@pytest.mark.parametrize("path", ["/", "/api/v1/jobs", "/healthz", "/sdapi/v1/progress"])
def test_another_host_is_misdirected(served: Served, host: str, path: str) -> None:
    answer = served.client.get(path, headers={"Host": host})
    assert answer.status_code in (400, 421)
    assert "jobs" not in answer.text


def test_own_hosts_are_served(served: Served) -> None:
    for host in ("localhost", f"127.0.0.1:{served.port}", "[::1]:80", "LOCALHOST:1"):
        assert served.client.get("/healthz", headers={"Host": host}).status_code == 200


def test_no_host_two_hosts_and_addresses_as_paths_are_refused(served: Served) -> None:
    assert status(raw(served, b"GET /healthz HTTP/1.1\r\n\r\n")) == 400
    two = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert status(raw(served, two)) in (400, 421)
    absolute = b"GET http://evil.example/api/v1/jobs HTTP/1.1\r\nHost: localhost\r\n\r\n"
    assert status(raw(served, absolute)) in (400, 404, 421)


# --- S2: Origin -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "null"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_a_foreign_page_creates_and_reads_nothing(served: Served, headers: dict[str, str]) -> None:
    before = served.client.get("/api/v1/jobs").json()["jobs"]
    body = {"request": {"prompt": "a fox"}}
    answer = served.client.post("/api/v1/jobs", json=body, headers=headers)
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers
    if "Origin" in headers:
        assert served.client.get("/api/v1/jobs", headers=headers).status_code == 403
    assert served.client.get("/api/v1/jobs").json()["jobs"] == before


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "text/plain", "text/html", "application/xml"]
)
def test_forms_and_plain_text_are_not_accepted(served: Served, kind: str) -> None:
    body = b'{"request": {"prompt": "a fox"}}'
    answer = served.client.post("/api/v1/jobs", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 415


def test_the_own_page_is_served_and_bound_by_a_strict_policy(served: Served) -> None:
    origin = f"http://127.0.0.1:{served.port}"
    answer = served.client.patch(
        "/api/v1/queue", json={"paused": False}, headers={"Origin": origin}
    )
    assert answer.status_code == 200
    page = served.client.get("/")
    assert page.status_code == 200
    policy = page.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["x-frame-options"] == "DENY"


# --- S3: token ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": TOKEN}},
        {"headers": {"Authorization": f"Basic {TOKEN}"}},
        {"headers": {"Cookie": "animatediff_token=wrong"}},
        {"params": {"token": TOKEN}},
        {"params": {"access_token": TOKEN}},
    ],
)
@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs", "/api/v1/events", "/metrics", "/v1/videos", "/sdapi/v1/sd-models"],
)
def test_without_the_token_there_is_nothing(
    guarded: Served, given: dict[str, Any], path: str
) -> None:
    with bare(guarded) as client:
        answer = client.get(path, **given)
    assert answer.status_code == 401
    assert TOKEN not in answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")


def test_the_token_opens_as_bearer_as_password_and_as_cookie(guarded: Served) -> None:
    assert guarded.client.get("/api/v1/jobs").status_code == 200
    with bare(guarded) as client:
        assert client.get("/sdapi/v1/samplers", auth=("anybody", TOKEN)).status_code == 200
        assert client.get("/api/v1/session").json() == {
            **client.get("/api/v1/session").json(),
            "needs_token": True,
            "authenticated": False,
        }
        assert client.post("/api/v1/session", json={"token": "wrong"}).status_code == 401
        answer = client.post("/api/v1/session", json={"token": TOKEN})
        assert answer.status_code == 204
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert client.get("/api/v1/jobs").status_code == 200


def test_a_huge_token_is_refused_like_a_wrong_one(guarded: Served) -> None:
    with bare(guarded) as client:
        answer = client.get("/api/v1/jobs", headers={"Authorization": f"Bearer {'x' * 20_000}"})
    assert answer.status_code == 401
    long = b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer "
    assert status(raw(guarded, long + b"x" * (1 << 20))) in (400, 431)


def test_refusals_are_in_the_audit_log_and_no_log_has_the_token(guarded: Served) -> None:
    with bare(guarded) as client:
        client.get("/api/v1/jobs", headers={"Authorization": "Bearer not-it"})
        client.get("/api/v1/jobs", headers={"Origin": "https://evil.example"})
    text = (guarded.folder / "audit.jsonl").read_text()
    assert '"status": 403' in text
    assert '"event": "refused"' in text
    assert TOKEN not in text
    assert "not-it" not in text


# --- S4: identifiers ------------------------------------------------------------------------------

PLACES = [
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "%00",
    "C:%5Cwindows",
    "%5C%5Chost%5Cshare",
    "queue.sqlite",
    "a" * 64,
    "0" * 26,
    "é" * 26,
]


@pytest.mark.parametrize("name", PLACES)
@pytest.mark.parametrize(
    "route",
    [
        "/api/v1/jobs/{}",
        "/api/v1/jobs/{}/events",
        "/api/v1/jobs/{}/preview",
        "/api/v1/results/{}",
        "/api/v1/uploads/{}",
        "/api/v1/uploads/{}/content",
        "/v1/videos/{}",
        "/v1/videos/{}/content",
        "/{}",
    ],
)
def test_an_identifier_is_never_a_path(served: Served, route: str, name: str) -> None:
    answer = served.client.get(route.format(name))
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_link_planted_in_the_store_is_not_followed(served: Served) -> None:
    digest = "ab" * 32
    place = served.service.store.path(digest, ".png")
    place.parent.mkdir(exist_ok=True)
    place.symlink_to("/etc/passwd")
    assert served.client.get(f"/api/v1/results/{digest}").status_code == 404


# --- S6: bodies -----------------------------------------------------------------------------------


def test_bodies_that_are_too_large_compressed_or_wrongly_measured(guarded: Served) -> None:
    client = guarded.client
    large = client.post(
        "/api/v1/jobs", content=b"x" * (2 << 20), headers={"Content-Type": "application/json"}
    )
    assert large.status_code == 413
    packed = client.post(
        "/api/v1/jobs",
        content=b"x",
        headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
    )
    assert packed.status_code == 415
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
    for length in ("-1", "1e3", "99999999999999999999", "0x10"):
        answer = raw(guarded, f"{head}Content-Length: {length}\r\n\r\n".encode())
        assert status(answer) in (400, 413), length


def test_an_endless_body_and_a_slow_one_end(guarded: Served) -> None:
    head = (
        f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        "Content-Type: application/json\r\n"
    )
    slow = raw(guarded, f"{head}Content-Length: 100\r\n\r\n{{".encode())
    assert status(slow) == 408

    def endless() -> Iterator[bytes]:
        for _ in range(64):
            yield b"x" * (1 << 16)

    answer = guarded.client.post(
        "/api/v1/jobs", content=endless(), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == 413


def test_headers_that_never_end_are_cut_off(guarded: Served) -> None:
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=60) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localh")
        with contextlib.suppress(ConnectionResetError):
            assert connection.recv(65536) == b""  # closed by the service; waiting longer fails


def test_a_form_of_a_hundred_thousand_parts_is_refused(guarded: Served) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    answer = guarded.client.post(
        "/api/v1/uploads",
        content=part * 15_000 + b"--b--\r\n",
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )
    assert answer.status_code in (400, 413, 422)


# --- S7 and S9 ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/api/v1/jobs/X/cancel", "/api/v1/jobs/X/retry", "/sdapi/v1/interrupt", "/v1/videos/sync"],
)
def test_reading_changes_nothing(served: Served, path: str) -> None:
    assert served.client.get(path).status_code in (404, 405)


@pytest.mark.parametrize(
    "path",
    ["/", "/js/main.js", "/healthz", "/api/v1/jobs", "/api/v1/options", "/v1/videos", "/nothing"],
)
def test_head_is_get_without_the_body(served: Served, path: str) -> None:
    get, head = served.client.get(path), served.client.head(path)
    assert head.status_code == get.status_code
    assert head.content == b""
    for name in ("content-type", "content-length", "content-security-policy", "cache-control"):
        assert head.headers.get(name) == get.headers.get(name), name


def test_head_of_an_endless_stream_is_answered(served: Served) -> None:
    before = served.service.broker.streams
    head = served.client.head("/api/v1/events", timeout=20)
    assert head.status_code == 200
    assert head.headers["content-type"].startswith("text/event-stream")
    until(lambda: served.service.broker.streams == before)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/api/v1/jobs", "GET, HEAD, POST"),
        ("POST", "/healthz", "GET, HEAD"),
        ("GET", "/sdapi/v1/txt2img", "POST"),
        ("HEAD", "/sdapi/v1/txt2img", "POST"),
        ("DELETE", "/api/v1/queue", "GET, HEAD, PATCH"),
        ("POST", "/", "GET, HEAD"),
        ("GET", "/v1/videos/sync", "POST"),
        ("OPTIONS", "/v1/videos/sync", "POST"),
        ("PATCH", "/v1/videos/x", "GET, HEAD, DELETE"),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    served: Served, method: str, path: str, allowed: str
) -> None:
    answer = served.client.request(method, path)
    assert answer.status_code == 405
    assert sorted(answer.headers["allow"].split(", ")) == sorted(allowed.split(", "))


def test_a_preflight_from_elsewhere_is_refused(served: Served) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    answer = served.client.options("/api/v1/jobs", headers=headers)
    assert answer.status_code in (403, 405)
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_flood_is_told_to_slow_down(tmp_path: Path) -> None:
    limits = limited(rate=1.0, burst=5)
    with Served(tmp_path / "slow", devices=(), limits=limits) as running:
        answers = [running.client.get("/healthz") for _ in range(8)]
    assert [each.status_code for each in answers[:5]] == [200] * 5
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_wrong_tokens_are_slowed_down_and_the_right_one_is_not(tmp_path: Path) -> None:
    limits = limited(rate=0.01, burst=5)
    with Served(tmp_path / "slow", devices=(), token=TOKEN, limits=limits) as running:
        with bare(running) as client:
            wrong = {"Authorization": "Bearer wrong"}
            answers = [client.get("/api/v1/jobs", headers=wrong) for _ in range(8)]
            assert [each.status_code for each in answers] == [401] * 5 + [429] * 3
            assert int(answers[-1].headers["retry-after"]) >= 1
            # Somebody else at this address can still sign in, and use the token.
            assert client.post("/api/v1/session", json={"token": TOKEN}).status_code == 204
        assert running.client.get("/api/v1/jobs").status_code == 200


def test_sign_ins_and_changes_of_jobs_are_in_the_audit_log(tmp_path: Path) -> None:
    with Served(tmp_path / "audited", devices=(), token=TOKEN) as running:
        running.client.post("/api/v1/session", json={"token": TOKEN})
        job = running.submit("a fox")["id"]
        running.client.patch(f"/api/v1/jobs/{job}", json={"held": True})
        lines = (running.folder / "audit.jsonl").read_text().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert events == ["signed in", "submitted", "changed"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_disk_that_is_full_warns_once_of_the_audit_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from animatediff.apps.server.logs import Logs
    from animatediff.apps.server.metrics import Metrics

    (tmp_path / "audit.jsonl").symlink_to("/dev/full")
    logs = Logs(tmp_path, metrics=Metrics())
    logs.audit("submitted", {"job": "J"})
    logs.audit("cancelled", {"job": "J"})
    logs.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert "audit log cannot be written (no space left on device)" in json.loads(line)["error"]


def test_rates_refill_and_remember_a_bounded_number_of_clients() -> None:
    now = 0.0
    rates = Rates(2.0, 2, clock=lambda: now)
    assert [rates.wait("a") for _ in range(3)] == [0, 0, 1]
    now = 0.6
    assert rates.wait("a") == 0
    assert rates.wait("b") == 0
    for number in range(20_000):
        rates.wait(str(number))
    assert len(rates._buckets) <= 10_000


def test_a_failure_inside_is_a_number_and_not_a_traceback(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[BaseException] = []

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("/root/secret.txt leaked")

    monkeypatch.setattr(served.service.queue, "jobs", broken)
    monkeypatch.setattr(served.service.logs, "failure", lambda error, path: noted.append(error))
    answer = served.client.get("/api/v1/jobs")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    until(lambda: noted)


# --- S7: ranges -----------------------------------------------------------------------------------


def test_seeking_works_and_a_thousand_ranges_are_refused(served: Served) -> None:
    url = served.ended(served.submit("bytes=5000")["id"])["results"][0]["url"]
    whole = served.client.get(url).content

    def part(value: str) -> httpx.Response:
        return served.client.get(url, headers={"Range": f"bytes={value}"})

    assert part("0-9").content == whole[:10]
    assert part("-10").content == whole[-10:]
    assert part("100-").content == whole[100:]
    assert part("999999-").status_code == 416
    for many in (",".join(["0-"] * 10_000)[:20_000], ",".join(f"{n}-{n}" for n in range(50))):
        assert part(many).status_code == 416


def test_requests_are_lines_of_json_without_prompts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from animatediff.apps.server.logs import Logs
    from animatediff.apps.server.metrics import Metrics

    logs = Logs(tmp_path, metrics=Metrics(), level="debug")
    logs.request({"method": "GET", "path": "/api/v1/jobs"}, status=200, seconds=0.012)
    logs.event("started", {"address": "http://127.0.0.1:8188/"})
    logs.failure(ValueError("50 % of it"), path="/x")
    logs.audit("submitted", {"job": "J", "client": "token"})
    logs.close()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [line["event"] for line in lines] == ["request", "started", "failure"]
    assert lines[0]["milliseconds"] == 12.0
    assert "50 % of it" in lines[2]["traceback"]
    assert json.loads((tmp_path / "audit.jsonl").read_text())["job"] == "J"
