"""The client against a running service, whose jobs a painter does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.apps.page.service import Served, serving, settings_in

from animatediff.client import ApiError, Client, JobFailed
from animatediff.client.values import Progress
from animatediff.video import read_metadata

TOKEN = "correct horse battery staple"
GUIDE = Path(__file__).parents[2] / "docs/guides/client.md"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Generator[Served]:
    settings = replace(settings_in(tmp_path_factory.mktemp("service")), token=TOKEN)
    with serving(settings) as running:
        yield running


@pytest.fixture
def client(served: Served) -> Generator[Client]:
    with Client(served.url, token=TOKEN, patience=5) as opened:
        yield opened


def test_an_animation_is_queued_followed_and_fetched(client: Client, tmp_path: Path) -> None:
    job = client.submit("a fox, flat style", settings={"seed": 7, "steps": 4})
    assert job.state in ("queued", "running")
    seen: list[Progress] = []
    previews: list[bytes] = []
    done = client.wait(job.id, on_progress=seen.append, on_preview=previews.append)
    assert done.state == "completed"
    assert done.resolved is not None
    assert done.resolved["num_frames"] == 16
    assert all(step.stage == "denoise" and step.steps == 4 for step in seen)
    assert all(data.startswith(b"\xff\xd8") for data in previews)
    written = client.download(done.results[0], tmp_path / "fox.mp4")
    assert written.read_bytes() == client.read(done.results[0])
    assert [path.name for path in tmp_path.iterdir()] == ["fox.mp4"]
    assert "a fox, flat style" in read_metadata(written)["animatediff"]


def test_one_key_queues_one_job(client: Client) -> None:
    first = client.submit("a fox", key="once")
    assert client.submit("a fox", key="once").id == first.id
    with pytest.raises(ApiError) as refused:
        client.submit("a hare", key="once")
    assert refused.value.status == 409
    client.wait(first.id)


def test_what_cannot_be_is_refused_by_field(client: Client) -> None:
    with pytest.raises(ApiError, match="steps") as refused:
        client.submit("a fox", settings={"steps": 0})
    assert refused.value.status == 422
    assert list(refused.value.fields) == ["request.steps"]
    with pytest.raises(ApiError) as missing:
        client.job("../../etc/passwd")
    assert missing.value.status == 404


def test_a_cancelled_job_ends_the_wait(client: Client, served: Served) -> None:
    served.painter.step_seconds = 0.2
    try:
        job = client.submit("a slow fox", settings={"steps": 40})
        client.cancel(job.id)
        with pytest.raises(JobFailed, match="cancelled") as failed:
            client.wait(job.id)
        assert failed.value.state == "cancelled"
    finally:
        served.painter.step_seconds = 0.01
    again = client.retry(job.id)
    assert again.id == job.id
    client.cancel(job.id)


def test_jobs_are_listed_and_forgotten(client: Client) -> None:
    job = client.submit("to be forgotten", settings={"steps": 1})
    client.wait(job.id)
    assert job.id in [each.id for each in client.jobs(states=("completed",))]
    client.remove(job.id)
    with pytest.raises(ApiError, match="no such job"):
        client.job(job.id)


def test_inputs_are_uploaded_and_settings_read_back(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), "teal").save(tmp_path / "first.png")
    upload = client.upload(tmp_path / "first.png")
    assert (upload.width, upload.height, upload.frames) == (32, 24, 1)
    done = client.wait(client.submit("a fox", settings={"steps": 3, "seed": 2**64 - 1}).id)
    stored = client.settings_of(client.read(done.results[0]))
    assert stored.source == "animatediff"
    assert stored.request["seed"] == 2**64 - 1
    with pytest.raises(ApiError):
        client.settings_of((tmp_path / "first.png").read_bytes())


def test_an_upload_is_deleted_unless_a_job_uses_it(client: Client, tmp_path: Path) -> None:
    Image.new("RGB", (32, 24), "red").save(tmp_path / "used.png")
    Image.new("RGB", (32, 24), "blue").save(tmp_path / "unused.png")
    used, unused = client.upload(tmp_path / "used.png"), client.upload(tmp_path / "unused.png")
    job = client.submit("a fox", settings={"init": used.hash, "steps": 2})
    with pytest.raises(ApiError, match="delete the job first"):
        client.remove_upload(used.hash)
    client.remove_upload(unused.hash)
    for _ in range(2):
        with pytest.raises(ApiError, match="no such upload"):
            client.remove_upload(unused.hash)
    client.wait(job.id)


def test_models_and_options_are_listed(client: Client) -> None:
    assert ("model", "emoji") in [(model.field, model.name) for model in client.models()]
    groups = client.options()["groups"]
    assert "steps" in [option["field"] for group in groups for option in group["options"]]


def test_a_wrong_token_is_refused(served: Served) -> None:
    with Client(served.url, token="wrong") as stranger, pytest.raises(ApiError) as refused:
        stranger.jobs()
    assert refused.value.status == 401


def test_a_full_queue_is_waited_for() -> None:
    answers = iter([429, 429, 200])

    def handle(request: httpx.Request) -> httpx.Response:
        status = next(answers)
        return httpx.Response(status, headers={"Retry-After": "0"}, json={"groups": []})

    with Client(transport=httpx.MockTransport(handle)) as client:
        assert client.options() == {"groups": []}


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(502, html="<h1>Bad gateway</h1>"),
        httpx.Response(404, json=["not", "ours"]),
        httpx.Response(422, json={"detail": [{"loc": ["x"]}], "errors": {"a": 1}}),
        httpx.Response(200, html="<h1>Welcome</h1>"),
        httpx.Response(429, headers={"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}),
    ],
)
def test_another_server_or_a_proxy_is_an_api_error_too(answer: httpx.Response) -> None:
    transport = httpx.MockTransport(lambda _: answer)
    with Client(transport=transport, patience=0.05) as client, pytest.raises(ApiError) as refused:
        client.models()
    assert refused.value.status == answer.status_code


JOB = {
    "id": "J",
    "state": "completed",
    "held": False,
    "priority": 0,
    "position": None,
    "request": {},
    "resolved": {},
    "progress": None,
    "results": [],
    "notes": [],
    "error": None,
}


def test_a_server_that_stops_and_starts_again_does_not_end_the_wait() -> None:
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path.endswith("/events"):
            return httpx.Response(200, text=": bye\n\n")
        if len(asked) == 2:
            raise httpx.ConnectError("away", request=request)
        return httpx.Response(200, json=JOB)

    with Client(transport=httpx.MockTransport(handle)) as client:
        assert client.wait("J").state == "completed"


def test_a_lost_connection_is_taken_up_where_it_was() -> None:
    progress = '{"job": "J", "stage": "denoise", "step": 1, "steps": 2, "fraction": 0.5}'
    begun: list[str | None] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=JOB)
        begun.append(request.headers.get("Last-Event-ID"))
        if len(begun) == 1:
            raise httpx.ConnectError("away", request=request)
        if len(begun) == 2:
            return httpx.Response(
                200, stream=_Torn(f": hi\n\nid: 7\nevent: progress\ndata: {progress}\n\n")
            )
        return httpx.Response(200, text="id: 8\nevent: state\ndata: {}\n\n")

    seen: list[Progress] = []
    with Client(transport=httpx.MockTransport(handle)) as client:
        assert client.wait("J", on_progress=seen.append).state == "completed"
    assert begun == [None, None, "7"]
    assert [step.step for step in seen] == [1]


class _Torn(httpx.SyncByteStream):
    def __init__(self, text: str) -> None:
        self.text = text

    def __iter__(self) -> Generator[bytes]:
        yield self.text.encode()
        raise httpx.ReadError("torn")


def test_the_client_needs_no_torch() -> None:
    code = "import sys, animatediff.client; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_guide_in_curl_works(served: Served, tmp_path: Path) -> None:
    Image.new("RGB", (32, 32), "teal").save(tmp_path / "first.png")
    blocks = GUIDE.read_text().split("```bash\n")[1:]
    script = "\n".join(block.split("```")[0] for block in blocks if "curl" in block)
    script = script.replace("http://127.0.0.1:8188", served.url)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "ANIMATEDIFF_TOKEN": TOKEN},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "fox.mp4").stat().st_size > 500
    assert "event: state" in run.stdout
    assert '"source":"animatediff"' in run.stdout.replace(": ", ":")


def test_the_guide_in_python_works(
    served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANIMATEDIFF_TOKEN", TOKEN)
    blocks = GUIDE.read_text().split("```python\n")[1:]
    script = "\n".join(block.split("```")[0] for block in blocks)
    exec(compile(script.replace("http://127.0.0.1:8188", served.url), "client.md", "exec"), {})
    assert (tmp_path / "fox.mp4").stat().st_size > 500
