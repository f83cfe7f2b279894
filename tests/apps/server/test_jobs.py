"""The native API over fake workers: submit, follow, cancel, retry, and what is left of a job."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.apps.server.served import Served, limited, until

from animatediff.apps.server.queue.job import new_id


def events(served: Served, path: str, **headers: str) -> Iterator[tuple[int, str, Any]]:
    """Server-sent events, parsed as their specification says."""
    with served.client.stream("GET", path, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        number, kind = 0, ""
        for line in answer.iter_lines():
            name, _, value = line.partition(": ")
            if name == "id":
                number = int(value)
            elif name == "event":
                kind = value
            elif name == "data":
                yield number, kind, json.loads(value)


def test_a_job_is_made_and_its_result_is_what_the_store_says(served: Served) -> None:
    job = served.submit("a fox steps=5", formats=["mp4", "gif"])
    done = served.ended(job["id"])
    assert done["state"] == "completed"
    assert [each["format"] for each in done["results"]] == ["mp4", "gif"]
    assert done["resolved"]["num_frames"] == 16
    assert done["attempts"] == 1
    for result in done["results"]:
        answer = served.client.get(result["url"])
        assert hashlib.sha256(answer.content).hexdigest() == result["hash"]
        assert answer.headers["content-type"] == result["media_type"]
        assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert answer.headers["content-disposition"].startswith("inline")
    download = served.client.get(done["results"][0]["url"], params={"download": "1"})
    assert download.headers["content-disposition"].startswith("attachment")
    assert served.client.get(done["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert served.client.get(done["preview"]).content.startswith(b"\xff\xd8")


def test_a_stream_tells_every_stage_and_ends_with_the_job(served: Served) -> None:
    job = served.submit("a fox steps=8 sleep=0.1")
    seen = list(events(served, f"/api/v1/jobs/{job['id']}/events"))
    kinds = [kind for _, kind, _ in seen]
    assert kinds[0] == "state"
    assert kinds[-1] == "state"
    assert seen[-1][2]["state"] == "completed"
    assert {"progress", "preview"} <= set(kinds)
    numbers = [number for number, _, _ in seen]
    assert numbers == sorted(numbers)
    stages = [data["stage"] for _, kind, data in seen if kind == "progress"]
    assert "denoise" in stages
    shares = [data["fraction"] for _, kind, data in seen if kind == "progress"]
    assert shares == sorted(shares)
    again = list(events(served, f"/api/v1/jobs/{job['id']}/events"))
    assert [kind for _, kind, _ in again] == ["state"]


def test_a_client_that_comes_back_misses_nothing(served: Served) -> None:
    first = next(events(served, "/api/v1/jobs/" + served.submit("one")["id"] + "/events"))[0]
    job = served.submit("a fox")
    served.ended(job["id"])
    missed = list(
        events(served, f"/api/v1/jobs/{job['id']}/events", **{"Last-Event-ID": str(first)})
    )
    states = [data["state"] for _, kind, data in missed if kind == "state"]
    assert states[-1] == "completed"


def test_all_jobs_are_on_one_stream(served: Served) -> None:
    stream = events(served, "/api/v1/events")
    done = threading.Event()
    found: list[str] = []

    def listen() -> None:
        for _, kind, data in stream:
            completed = kind == "state" and data["state"] == "completed"
            if completed and data["id"] not in found:  # a state may be sent again
                found.append(data["id"])
            if len(found) == 2:
                break
        done.set()

    thread = threading.Thread(target=listen)
    thread.start()
    until(lambda: served.service.broker.streams)
    jobs = [served.submit(f"a fox {number}")["id"] for number in range(2)]
    assert done.wait(60)
    thread.join()
    assert found == jobs


def test_a_running_job_is_cancelled_within_a_step(served: Served) -> None:
    job = served.submit("a fox steps=1000 sleep=0.05")
    until(lambda: served.job(job["id"])["state"] == "running")
    assert served.client.post(f"/api/v1/jobs/{job['id']}/cancel").status_code == 200
    done = served.ended(job["id"])
    assert done["state"] == "cancelled"
    assert done["results"] == []
    again = served.client.post(f"/api/v1/jobs/{job['id']}/cancel")
    assert again.json()["state"] == "cancelled"
    assert not list((served.folder / "store" / "new").iterdir())


def test_a_failure_is_a_sentence_without_paths_and_can_be_tried_again(served: Served) -> None:
    job = served.submit("fail")
    done = served.ended(job["id"])
    assert done["state"] == "failed"
    assert done["error"]["code"] == 2
    assert done["error"]["detail"] == "The fake failed at place.safetensors; that is its nature."
    assert served.client.post(f"/api/v1/jobs/{job['id']}/retry").json()["state"] == "queued"
    again = served.ended(job["id"])
    assert (again["state"], again["attempts"]) == ("failed", 2)


@pytest.mark.parametrize(
    ("prompt", "cause"),
    [
        ("crash", "SIGSEGV"),
        ("exit", "exit code 7"),
        pytest.param("hang", "no sign of life", marks=pytest.mark.slow),
    ],
)
def test_a_job_that_kills_its_worker_is_failed_after_two_tries_and_the_queue_goes_on(
    served: Served, prompt: str, cause: str
) -> None:
    poison, healthy = served.submit(prompt), served.submit("a fox")
    done = served.ended(poison["id"])
    assert done["state"] == "failed"
    assert done["attempts"] == 2
    assert cause in done["error"]["detail"]
    assert "twice" in done["error"]["detail"]
    assert served.ended(healthy["id"])["state"] == "completed"
    assert served.client.get("/readyz").status_code in (200, 503)


def test_the_queue_is_paused_reordered_and_listed(served: Served) -> None:
    assert served.client.patch("/api/v1/queue", json={"paused": True}).json()["paused"] is True
    until(lambda: served.client.get("/api/v1/queue").json()["running"] == 0)
    jobs = [served.submit(f"{n} of three")["id"] for n in range(3)]
    waiting = {"order": "queue"}

    def order() -> list[str]:
        listed = served.client.get("/api/v1/jobs", params=waiting).json()["jobs"]
        return [job["id"] for job in listed]

    assert order() == jobs
    for also in ({"state": "running"}, {"before": jobs[0]}):
        refused = served.client.get("/api/v1/jobs", params=waiting | also)
        assert refused.status_code == 422
        assert "all that wait" in refused.json()["detail"]
    served.client.patch(f"/api/v1/jobs/{jobs[2]}", json={"before": jobs[0]})
    assert order() == [jobs[2], jobs[0], jobs[1]]
    assert served.job(jobs[2])["position"] == 0
    served.client.patch(f"/api/v1/jobs/{jobs[1]}", json={"priority": 9})
    assert order() == [jobs[1], jobs[2], jobs[0]]
    served.client.patch(f"/api/v1/jobs/{jobs[0]}", json={"held": True})
    served.client.patch("/api/v1/queue", json={"paused": False})
    assert served.ended(jobs[2])["state"] == "completed"
    assert served.job(jobs[0])["state"] == "queued"
    served.client.patch(f"/api/v1/jobs/{jobs[0]}", json={"held": False})
    assert served.ended(jobs[0])["state"] == "completed"


def test_listing_goes_page_by_page(served: Served) -> None:
    made = [served.submit(f"{n} of five")["id"] for n in range(5)]
    for name in made:
        served.ended(name)
    found: list[str] = []
    before = ""
    while len(found) < 5:
        params = {"limit": "2", "before": before}
        page = served.client.get("/api/v1/jobs", params=params).json()
        found += [job["id"] for job in page["jobs"]]
        before = page["next"]
    assert found[:5] == made[::-1]


def test_deleting_forgets_a_job_and_in_time_its_files(served: Served) -> None:
    job = served.ended(served.submit("to be deleted")["id"])
    assert served.client.delete(f"/api/v1/jobs/{job['id']}").status_code == 204
    assert served.client.get(f"/api/v1/jobs/{job['id']}").status_code == 404
    assert served.client.delete(f"/api/v1/jobs/{job['id']}").status_code == 404
    busy = served.submit("a fox steps=200 sleep=0.05")
    assert served.client.delete(f"/api/v1/jobs/{busy['id']}").status_code == 409
    served.client.post(f"/api/v1/jobs/{busy['id']}/cancel")
    served.ended(busy["id"])


def test_an_idempotency_key_makes_one_job(served: Served) -> None:
    body = {"request": {"prompt": "a fox", "seed": -1}}
    key = {"Idempotency-Key": new_id()}
    first = served.client.post("/api/v1/jobs", json=body, headers=key)
    second = served.client.post("/api/v1/jobs", json=body, headers=key)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    other = {"request": {"prompt": "a hare"}}
    assert served.client.post("/api/v1/jobs", json=other, headers=key).status_code == 409


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    with Served(tmp_path / "full", devices=(), limits=limited(queued=2)) as running:
        for _ in range(2):
            running.submit("a fox")
        answer = running.client.post("/api/v1/jobs", json={"request": {"prompt": "a fox"}})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) > 0
    assert "wait" in answer.json()["detail"]


def test_a_restart_finds_every_job(tmp_path: Path) -> None:
    folder = tmp_path / "twice"
    with Served(folder) as running:
        done = running.ended(running.submit("done before")["id"])
        running.client.patch("/api/v1/queue", json={"paused": True})
        waits = running.submit("waits")
    with Served(folder) as running:
        assert running.job(done["id"])["results"] == done["results"]
        assert running.client.get(done["results"][0]["url"]).status_code == 200
        assert running.job(waits["id"])["state"] == "queued"
        running.client.patch("/api/v1/queue", json={"paused": False})
        assert running.ended(waits["id"])["state"] == "completed"


def test_a_stopped_server_gives_a_running_job_back(tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    with Served(folder) as running:
        job = running.submit("a fox steps=40 sleep=0.05")
        until(lambda: running.job(job["id"])["state"] == "running")
    with Served(folder) as running:
        done = running.ended(job["id"])
    assert (done["state"], done["attempts"]) == ("completed", 2)


def test_the_oldest_results_leave_when_the_store_is_full(tmp_path: Path) -> None:
    with Served(tmp_path / "quota", limits=limited(store_bytes=400_000)) as running:
        jobs = [running.ended(running.submit(f"{n} bytes=100000")["id"]) for n in range(5)]
        for path in (running.folder / "store").glob("*/*"):
            if path.is_file():
                os.utime(path, (0, 0))  # as if they were made long ago
        until(lambda: running.service.store.bytes_used() <= 400_000)
        assert running.client.get(f"/api/v1/jobs/{jobs[0]['id']}").status_code == 404
        assert running.client.get(jobs[-1]["results"][0]["url"]).status_code == 200


def test_unused_uploads_leave_a_full_store_before_results(tmp_path: Path) -> None:
    with Served(tmp_path / "unused", limits=limited(store_bytes=400_000)) as running:
        job = running.ended(running.submit("0 bytes=100000")["id"])
        store = running.service.store
        digest = "ab" * 32
        path = store.path(digest, ".png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        for each in (running.folder / "store").glob("*/*"):
            os.utime(each, (0, 0))  # as if they were made long ago
        store.register_upload(digest, suffix=".png", media_type="image/png", size=390_000, facts={})
        with store.database.changing() as db:
            db.execute("UPDATE files SET used = 0 WHERE hash = ?", (digest,))
        until(lambda: store.find(digest) is None)
        until(lambda: store.bytes_used() <= 380_000)
        assert running.client.get(job["results"][0]["url"]).status_code == 200


def test_metrics_count_what_happened(served: Served) -> None:
    served.ended(served.submit("counted")["id"])
    text = served.client.get("/metrics").text
    assert 'animatediff_jobs{state="completed"}' in text
    assert 'animatediff_requests_total{method="POST",route="/api/v1/jobs",status="202"}' in text
    assert "animatediff_workers" in text


def test_the_server_does_not_import_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys, animatediff.apps.server.app, animatediff.apps.server.working.supervisor; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_open_streams_do_not_hold_up_the_end(tmp_path: Path) -> None:
    with Served(tmp_path / "streams", devices=()) as running:
        ended = threading.Event()

        def listen() -> None:
            list(events(running, "/api/v1/events"))
            ended.set()

        thread = threading.Thread(target=listen)
        thread.start()
        until(lambda: running.service.broker.streams)
        running._server.should_exit = True
        assert ended.wait(20)
        thread.join()


def test_two_hundred_submits_at_once_are_taken_or_told_when_to_come_back(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    limits = limited(queued=50)
    with Served(tmp_path / "rush", devices=(), limits=limits) as running:
        body = {"request": {"prompt": "a fox", "seed": 1}}

        def submit(_: int) -> tuple[int, str]:
            answer = running.client.post("/api/v1/jobs", json=body)
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) > 0
            return answer.status_code, answer.json().get("id", "")

        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(submit, range(200)))
        taken = [name for status, name in answers if status == 202]
        assert {status for status, _ in answers} == {202, 429}
        assert len(taken) == 50
        assert all(running.job(name)["state"] == "queued" for name in taken)
