"""The queue: order, leases, fences and failures; nothing is lost and nothing is done twice."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from animatediff.apps.server.queue.database import SCHEMA, Database
from animatediff.apps.server.queue.job import (
    Failure,
    Job,
    Order,
    Outcome,
    ResultFile,
    is_id,
    new_id,
)
from animatediff.apps.server.queue.jobs import Conflict, Full, JobQueue
from animatediff.apps.server.queue.store import Store
from animatediff.errors import FileError, OutputError

ORDER = Order(
    request={"prompt": "a fox"},
    formats=("mp4",),
    priority=0,
    source="native",
    client="somebody",
    key="",
    digest="d",
)
FILE = ResultFile("ab" * 32, "mp4", "video/mp4", 7, "fox.mp4")
OUTCOME = Outcome((FILE,), {"prompt": "a fox", "seed": 1})
SUFFIXES = {FILE.hash: ".mp4"}


def submit(queue: JobQueue, **changes: object) -> Job:
    return queue.submit(replace(ORDER, **changes), most=100, most_each=100)[0]


def claim(queue: JobQueue, owner: str = "worker") -> Job:
    job = queue.claims.take(owner)
    assert job is not None
    return job


def state(queue: JobQueue, job: Job) -> str:
    found = queue.job(job.id)
    assert found is not None
    return found.state


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id(second) for second in range(100)]
    assert ids == sorted(ids)
    assert all(is_id(each) for each in ids)
    assert len({new_id(1.0) for _ in range(1000)}) == 1000
    assert not any(is_id(text) for text in ("", "..%2f", "a" * 26, "../../etc/passwd", "\0" * 26))


def test_jobs_run_by_priority_and_then_in_the_order_of_arrival(queue: JobQueue) -> None:
    first, second, urgent = submit(queue), submit(queue), submit(queue, priority=5)
    assert [claim(queue).id for _ in range(3)] == [urgent.id, first.id, second.id]
    assert queue.claims.take("worker") is None


def test_a_waiting_job_can_be_moved_held_and_released(queue: JobQueue) -> None:
    a, b, c = (submit(queue) for _ in range(3))
    queue.change(c.id, before=a.id)
    assert [job.id for job in queue.jobs(in_order=True)] == [c.id, a.id, b.id]
    queue.change(c.id, to_end=True)
    assert [job.id for job in queue.jobs(in_order=True)] == [a.id, b.id, c.id]
    queue.change(a.id, held=True)
    assert claim(queue).id == b.id
    queue.change(a.id, held=False)
    assert claim(queue).id == a.id
    with pytest.raises(Conflict, match="running"):
        queue.change(a.id, priority=3)


def test_many_moves_keep_the_order_exact(queue: JobQueue) -> None:
    jobs = [submit(queue).id for _ in range(6)]
    for _ in range(200):  # halving the distance of two numbers would end after fifty
        queue.change(jobs[5], before=jobs[1])
        queue.change(jobs[4], before=jobs[5])
    assert [job.id for job in queue.jobs(in_order=True)] == [
        jobs[0],
        jobs[4],
        jobs[5],
        *jobs[1:4],
    ]


def test_a_paused_queue_starts_nothing(queue: JobQueue) -> None:
    submit(queue)
    queue.pause(paused=True)
    assert queue.claims.take("worker") is None
    assert queue.paused
    queue.pause(paused=False)
    assert claim(queue).state == "running"


def test_a_full_queue_takes_no_more(queue: JobQueue) -> None:
    for _ in range(3):
        queue.submit(ORDER, most=3, most_each=10)
    with pytest.raises(Full, match="3 jobs wait"):
        queue.submit(ORDER, most=3, most_each=10)
    with pytest.raises(Full, match="You have 3"):
        queue.submit(ORDER, most=10, most_each=3)
    queue.submit(replace(ORDER, client="another"), most=10, most_each=3)


def test_an_idempotency_key_names_one_job_of_one_client(queue: JobQueue) -> None:
    keyed = replace(ORDER, key="k")
    job, is_new = queue.submit(keyed, most=9, most_each=9)
    again, is_new_again = queue.submit(keyed, most=1, most_each=1)
    assert (job.id, is_new, is_new_again) == (again.id, True, False)
    with pytest.raises(Conflict, match="another order"):
        queue.submit(replace(keyed, digest="other"), most=9, most_each=9)
    other, _ = queue.submit(replace(keyed, client="another"), most=9, most_each=9)
    assert other.id != job.id


def test_only_the_newest_claim_may_publish(queue: JobQueue) -> None:
    submit(queue)
    slow = claim(queue, "slow")
    queue.recovery.crashed("slow", "it was thought dead")
    quick = claim(queue, "quick")
    assert not queue.claims.complete(slow, OUTCOME, suffixes=SUFFIXES)
    assert not queue.claims.fail(slow, Failure("x", "y"))
    assert not queue.claims.progress(slow, stage="denoise", step=1, steps=2)
    assert queue.claims.beat(slow) is None
    assert queue.claims.complete(quick, OUTCOME, suffixes=SUFFIXES)
    assert not queue.claims.complete(quick, OUTCOME, suffixes=SUFFIXES)
    assert state(queue, slow) == "completed"


def test_a_lease_runs_out_by_the_monotonic_clock_alone(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    queue = JobQueue(database, clock=clock)
    submit(queue)
    job = claim(queue)
    for day in (86_400.0, -86_400.0):  # somebody sets the date
        monkeypatch.setattr("animatediff.apps.server.queue.jobs.time.time", lambda d=day: 1e9 + d)
        assert queue.recovery.expired() == []
    clock.now += queue.claims.endurance.lease_seconds - 1
    assert queue.claims.beat(job) is False
    clock.now += queue.claims.endurance.lease_seconds - 1
    assert queue.recovery.expired() == []
    clock.now += 2
    assert queue.recovery.expired() == [(job.id, "worker")]


def test_a_job_that_crashes_twice_is_failed_with_the_cause_and_the_next_runs(
    queue: JobQueue,
) -> None:
    poison, next_one = submit(queue), submit(queue)
    for _ in range(2):
        assert claim(queue).id == poison.id
        queue.recovery.crashed("worker", "ended by SIGSEGV")
    found = queue.job(poison.id)
    assert found is not None
    assert found.failure is not None
    assert found.state == "failed"
    assert found.failure.detail == "The job ended its worker process twice: ended by SIGSEGV."
    assert (found.attempts, found.crashes) == (2, 2)
    assert claim(queue).id == next_one.id


def test_ends_of_the_whole_server_are_no_crashes_but_not_without_end(queue: JobQueue) -> None:
    job = submit(queue)
    for _ in range(4):
        claim(queue)
        assert queue.recovery.interrupted() == 1
        assert state(queue, job) == "queued"
    claim(queue)
    queue.recovery.interrupted()
    assert state(queue, job) == "failed"


def test_cancelling_is_at_once_if_it_waits_and_asked_for_if_it_runs(queue: JobQueue) -> None:
    waiting = submit(queue)
    assert queue.cancel(waiting.id) is not None
    assert state(queue, waiting) == "cancelled"
    running = submit(queue)
    job = claim(queue)
    queue.cancel(running.id)
    assert state(queue, running) == "running"
    assert queue.claims.beat(job) is True
    assert queue.claims.stopped(job)
    assert state(queue, running) == "cancelled"
    before = queue.newest_event()
    queue.cancel(running.id)
    assert state(queue, running) == "cancelled"
    assert queue.newest_event() == before
    assert queue.cancel(new_id()) is None


def test_a_crash_while_cancelling_is_a_cancelled_job(queue: JobQueue) -> None:
    job = submit(queue)
    claim(queue)
    queue.cancel(job.id)
    queue.recovery.crashed("worker", "killed")
    assert state(queue, job) == "cancelled"


def test_retry_and_delete_are_for_finished_jobs(queue: JobQueue) -> None:
    job = submit(queue)
    with pytest.raises(Conflict, match="queued"):
        queue.retry(job.id)
    with pytest.raises(Conflict, match="cancel it"):
        queue.remove(job.id)
    queue.cancel(job.id)
    again = queue.retry(job.id)
    assert again is not None
    assert again.state == "queued"
    queue.cancel(job.id)
    assert queue.remove(job.id)
    assert queue.job(job.id) is None
    assert queue.remove(job.id) is None


def test_events_tell_every_change_and_only_the_newest_progress(queue: JobQueue) -> None:
    job = submit(queue)
    claimed = claim(queue)
    for step in range(50):
        queue.claims.progress(claimed, stage="denoise", step=step, steps=50, preview=b"jpeg")
    kinds = [event.kind for event in queue.events(after=0)]
    assert kinds == ["state", "state", "progress", "preview"]
    assert queue.picture(job.id, "preview") == b"jpeg"
    queue.claims.complete(claimed, OUTCOME, suffixes=SUFFIXES)
    assert [event.kind for event in queue.events(after=0)] == ["state", "state", "preview", "state"]
    queue.remove(job.id)
    assert [event.kind for event in queue.events(after=0)] == ["removed"]
    assert queue.picture(job.id, "preview") is None


def test_workers_on_one_queue_claim_each_job_once(database: Database, queue: JobQueue) -> None:
    jobs = {submit(queue).id for _ in range(60)}
    claimed: list[str] = []
    lock = threading.Lock()

    def work() -> None:
        own = JobQueue(database)
        while (job := own.claims.take("one of many")) is not None:
            with lock:
                claimed.append(job.id)
        database.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(jobs)


def test_a_full_disk_is_one_sentence_and_loses_nothing(database: Database, queue: JobQueue) -> None:
    jobs = [submit(queue).id for _ in range(3)]
    connection = database.connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(OutputError, match="full"):
        submit(queue, request={"prompt": "x" * 900_000})
    kept = {job.id for job in queue.jobs(limit=200)}
    assert kept.issuperset(jobs)
    connection.execute("PRAGMA max_page_count = 100000")
    submit(queue)


def test_a_read_only_queue_can_be_read(database: Database, queue: JobQueue) -> None:
    job = submit(queue)
    database.connection().execute("PRAGMA query_only = ON")
    with pytest.raises(OutputError, match="readonly"):
        submit(queue)
    assert state(queue, job) == "queued"


def test_a_damaged_newer_or_locked_file_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = tmp_path / "damaged.sqlite"
    damaged.write_bytes(b"This is no database, and it is longer than a header of one." * 20)
    with pytest.raises(FileError, match="damaged"):
        Database(damaged)
    page = tmp_path / "page.sqlite"
    filled = JobQueue(Database(page))
    for _ in range(50):
        submit(filled, request={"prompt": "x" * 2000})
    filled.database.connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    filled.database.close()
    data = bytearray(page.read_bytes())
    data[20_000:60_000] = b"\xa5" * 40_000
    page.write_bytes(data)
    with pytest.raises(FileError, match="move the file away"):
        Database(page, checked=True)
    newer = tmp_path / "newer.sqlite"
    Database(newer).close()
    with sqlite3.connect(newer) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    connection.close()
    with pytest.raises(FileError, match="newer version"):
        Database(newer)
    locked = tmp_path / "locked.sqlite"
    queue = JobQueue(Database(locked))
    monkeypatch.setattr("animatediff.apps.server.queue.database.BUSY_SECONDS", 0.05)
    queue.database.close()
    blocker = sqlite3.connect(locked, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    with pytest.raises(OutputError, match="locked"):
        submit(queue)
    blocker.execute("ROLLBACK")
    blocker.close()
    submit(queue)
    queue.database.close()


def test_an_upload_that_expired_is_refused_and_one_in_use_stays(
    database: Database, queue: JobQueue, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", database, quota=1 << 20)
    with pytest.raises(Conflict, match="upload it again"):
        submit(queue, uploads=("cd" * 32,))
    assert queue.jobs() == []
    with store.temporary() as path:
        path.write_bytes(b"picture")
        digest, size = store.take(path, suffix=".png")
    store.register_upload(digest, suffix=".png", media_type="image/png", size=size, facts={})
    job = submit(queue, uploads=(digest,))
    database.connection().execute("UPDATE files SET used = 0")
    age(store.path(digest, ".png"))
    assert store.expire(keep_seconds=10) == 0
    queue.cancel(job.id)
    queue.remove(job.id)
    assert store.expire(keep_seconds=10) == 1
    assert store.find(digest) is None


def uploaded(store: Store, content: bytes, *, used: float) -> str:
    """An upload that was last used at a time."""
    with store.temporary() as path:
        path.write_bytes(content)
        digest, size = store.take(path, suffix=".png")
    store.register_upload(digest, suffix=".png", media_type="image/png", size=size, facts={})
    store.database.connection().execute("UPDATE files SET used = ? WHERE hash = ?", (used, digest))
    age(store.path(digest, ".png"))
    return digest


def test_a_full_store_drops_its_oldest_unused_uploads_only(
    database: Database, queue: JobQueue, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", database, quota=1 << 20)
    now = time.time()
    kept = uploaded(store, b"k" * 100, used=0)
    submit(queue, uploads=(kept,))
    later = uploaded(store, b"l" * 100, used=now - 5000)
    first = uploaded(store, b"f" * 100, used=now - 9000)
    fresh = uploaded(store, b"n" * 100, used=now)
    assert store.make_room(most=300, unused_seconds=3600) == 1
    assert [store.find(each) is not None for each in (kept, later, first, fresh)] == [
        True,
        True,
        False,
        True,
    ]
    assert store.make_room(most=0, unused_seconds=3600) == 1
    assert store.find(later) is None
    assert store.make_room(most=0, unused_seconds=3600) == 0


def age(path: Path) -> None:
    os.utime(path, (0, 0))
