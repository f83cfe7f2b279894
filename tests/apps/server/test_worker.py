"""One worker by itself: every end of a job, and disks that are full."""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.apps.server.fake_worker import FakeMaker
from tests.apps.server.served import until
from tests.apps.server.test_queue import ORDER

from animatediff.apps.server.queue.job import Job
from animatediff.apps.server.queue.jobs import JobQueue
from animatediff.apps.server.settings import Endurance
from animatediff.apps.server.working.worker import Made, Step, Worker, WorkerSettings
from animatediff.errors import Cancelled, MemoryLimitError

QUICK = Endurance(lease_seconds=5.0, heartbeat_seconds=0.05)


class Staged:
    """A maker that stops at a named point until the test lets it go on."""

    models = ()

    def __init__(self, point: str) -> None:
        self.point = point
        self.there = threading.Event()
        self.go_on = threading.Event()

    def wait(self, point: str, should_stop: Callable[[], bool]) -> None:
        if point == self.point:
            self.there.set()
            until(lambda: self.go_on.is_set() or should_stop())
        if should_stop():
            raise Cancelled

    def make(
        self,
        request: Mapping[str, Any],
        *,
        path_of: Callable[[str], str],
        on_step: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> Made:
        for point in ("load", "denoise 1", "denoise 5", "decode"):
            on_step(Step(point.split()[0], 1, 5))
            self.wait(point, should_stop)
        made = FakeMaker().make(
            request, path_of=path_of, on_step=on_step, should_stop=lambda: False
        )

        def write(kind: str, temporary: Callable[[str], Path]) -> list[tuple[Path, str]]:
            written = made.write(kind, temporary)
            if self.point == "write":
                self.there.set()
                until(self.go_on.is_set)
            return written

        return replace(made, write=write)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@contextmanager
def working(folder: Path, maker: Any) -> Iterator[tuple[Worker, JobQueue]]:
    """A worker in a thread, and the queue."""
    found: list[Worker] = []
    ready = threading.Event()

    def work() -> None:
        worker = Worker(WorkerSettings(str(folder), "w", endurance=QUICK), maker)
        found.append(worker)
        ready.set()
        worker.run()
        worker.database.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(30)
    queue = JobQueue(found[0].database, endurance=QUICK)
    try:
        yield found[0], queue
    finally:
        found[0].stopping.set()
        thread.join(30)
        found[0].database.close()
        assert not thread.is_alive()


def order(queue: JobQueue, prompt: str = "a fox") -> Job:
    job, _ = queue.submit(replace(ORDER, request={"prompt": prompt}), most=99, most_each=99)
    return job


def ended(queue: JobQueue, job: Job) -> Job:
    def found() -> Job | None:
        now = queue.job(job.id)
        return now if now and now.state in ("completed", "failed", "cancelled") else None

    return until(found)


@pytest.mark.parametrize("point", ["load", "denoise 1", "denoise 5", "decode", "write"])
def test_a_job_is_cancelled_at_every_stage(folder: Path, point: str) -> None:
    maker = Staged(point)
    with working(folder, maker) as (worker, queue):
        job = order(queue)
        assert maker.there.wait(30)
        queue.cancel(job.id)
        queue.cancel(job.id)
        time.sleep(3 * QUICK.heartbeat_seconds)
        maker.go_on.set()
        assert ended(queue, job).state == "cancelled"
        assert list((folder / "store" / "new").iterdir()) == []
        assert worker.store.bytes_used() == 0


def test_a_worker_that_is_stopped_gives_its_job_back(folder: Path) -> None:
    maker = Staged("denoise 1")
    with working(folder, maker) as (worker, queue):
        job = order(queue)
        assert maker.there.wait(30)
        worker.stopping.set()
        back = until(lambda: j if (j := queue.job(job.id)) and j.state == "queued" else None)
        assert (back.crashes, back.attempts) == (0, 1)


def test_a_worker_that_lost_its_job_publishes_nothing(folder: Path) -> None:
    maker = Staged("write")
    with working(folder, maker) as (_, queue):
        job = order(queue)
        assert maker.there.wait(30)
        queue.pause(paused=True)
        queue.recovery.crashed("w", "somebody thought so")
        maker.go_on.set()
        time.sleep(0.3)
        found = queue.job(job.id)
        assert found is not None
        assert (found.state, found.outcome) == ("queued", None)


class Failing:
    models = ()

    def __init__(self, error: Exception) -> None:
        self.error = error

    def make(self, request: Mapping[str, Any], **_: Any) -> Made:
        raise self.error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryLimitError("It needs 90 GiB."), 4, "90 GiB"),
        (MemoryError(), 4, "memory"),
        (RuntimeError("of an unexpected kind"), 1, "RuntimeError"),
        (OSError(28, "No space left on device", "/srv/store/x.mp4"), 5, "No space left"),
    ],
)
def test_every_error_becomes_a_cause_with_its_exit_code(
    folder: Path, error: Exception, code: int, words: str
) -> None:
    with working(folder, Failing(error)) as (_, queue):
        failure = ended(queue, order(queue)).failure
        assert failure is not None
        assert failure.code == code
        assert words in failure.detail
        assert "/srv" not in failure.detail


def test_a_full_disk_fails_the_job_and_leaves_no_half_result(folder: Path) -> None:
    """RLIMIT_FSIZE stands in for a full disk: a result of 2 MB does not fit, the queue does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with working(folder, FakeMaker()) as (worker, queue):
            good = order(queue)
            kept = ended(queue, good)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))
            failed = ended(queue, order(queue, "bytes=2000000"))
            assert failed.failure is not None
            assert failed.failure.code == 5
            assert ended(queue, order(queue, "small again")).state == "completed"
            assert kept.outcome is not None
            assert worker.store.find(kept.outcome.files[0].hash) is not None
            assert list((folder / "store" / "new").iterdir()) == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_store_that_cannot_be_written_fails_the_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(self: Path, target: Path) -> None:
        raise OSError(30, "Read-only file system", str(target))

    with working(folder, FakeMaker()) as (_, queue):
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", read_only)
            failure = ended(queue, order(queue)).failure
        assert failure is not None
        assert "read-only" in failure.detail
        assert str(folder) not in failure.detail
        assert ended(queue, order(queue)).state == "completed"


def test_two_jobs_with_equal_results_share_a_file(folder: Path) -> None:
    with working(folder, FakeMaker()) as (worker, queue):
        first, second = ended(queue, order(queue)), ended(queue, order(queue))
        assert first.outcome is not None
        assert second.outcome is not None
        assert first.outcome.files == second.outcome.files
        path = worker.store.path(first.outcome.files[0].hash, ".mp4")
        os.utime(path, (0, 0))
        queue.remove(first.id)
        worker.store.expire(keep_seconds=0)
        assert path.exists()
        queue.remove(second.id)
        worker.store.expire(keep_seconds=0)
        assert not path.exists()


def test_strays_of_a_kill_are_swept(folder: Path) -> None:
    with working(folder, FakeMaker()) as (worker, queue):
        kept = ended(queue, order(queue)).outcome
        assert kept is not None
        with worker.store.temporary(".mp4") as path:
            path.write_bytes(b"of a worker that was killed before it said so")
            digest, _ = worker.store.take(path, suffix=".mp4")
        half = folder / "store" / "new" / "half.mp4"
        half.write_bytes(b"half")
        stray = worker.store.path(digest, ".mp4")
        assert worker.store.sweep() == 0  # they may belong to somebody who is still at it
        for path in (stray, half):
            os.utime(path, (0, 0))
        assert worker.store.sweep() == 2
        assert worker.store.find(kept.files[0].hash) is not None
