"""Kills at random moments: workers, the server, and both. No job is lost, none is done twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.apps.server.doomed_worker import NAME, POINTS
from tests.apps.server.fake_worker import FakeMaker
from tests.apps.server.served import until
from tests.apps.server.test_queue import ORDER

from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.jobs import JobQueue
from animatediff.apps.server.queue.store import Store
from animatediff.apps.server.working.worker import Worker, WorkerSettings

FAKE_SUPERVISOR = Path(__file__).with_name("fake_supervisor.py")
ROOT = Path(__file__).parents[3]
WORKERS = 2


@dataclass
class Victims:
    """A server process and its workers."""

    folder: Path
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(FAKE_SUPERVISOR), str(self.folder), str(WORKERS)],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "supervising\n"

    def workers(self) -> list[int]:
        """The process numbers of the workers, as the system lists children."""
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in path.read_text().split()]

    def kill_server(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None


def kill(number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)


def keep_completions(folder: Path) -> None:
    """Let a trigger keep a row of every change to "completed", whoever makes it."""
    with sqlite3.connect(folder / "queue.sqlite") as db:
        db.execute("CREATE TABLE completions (job TEXT)")
        db.execute(
            "CREATE TRIGGER completing AFTER UPDATE OF state ON jobs WHEN NEW.state = 'completed' "
            "BEGIN INSERT INTO completions VALUES (NEW.id); END"
        )
    db.close()


def torment(folder: Path, *, kills: int, seed: int, server_share: float) -> None:
    """Kill again and again while small jobs are made, then let the rest be made and look at all."""
    chance = random.Random(seed)
    database = Database(folder / "queue.sqlite")
    queue = JobQueue(database)
    keep_completions(folder)
    submitted: list[str] = []
    victims = Victims(folder)
    victims.start()
    done = 0
    try:
        while done < kills:
            while queue.counts().get("queued", 0) < 8:
                size = chance.choice([100, 100_000, 2_000_000])
                request = {"prompt": f"job {len(submitted)} steps=3 sleep=0.003 bytes={size}"}
                job, _ = queue.submit(replace(ORDER, request=request), most=99, most_each=10**6)
                submitted.append(job.id)
            if victims.process is None:
                victims.start()
            until(victims.workers)
            time.sleep(chance.random() * 0.25)
            if chance.random() < server_share:
                both = chance.random() < 0.3
                workers = victims.workers()
                victims.kill_server()
                if both:
                    for worker in workers:
                        kill(worker)
            elif workers := victims.workers():
                kill(chance.choice(workers))
            done += 1
        if victims.process is None:
            victims.start()
        until(lambda: queue.counts().get("completed", 0) == len(submitted), seconds=300)
    finally:
        if victims.process is not None:
            victims.kill_server()
    check_all(database, queue, submitted, folder)
    database.close()


def check_all(database: Database, queue: JobQueue, submitted: list[str], folder: Path) -> None:
    """Every job is there, completed once, and each of its files is whole."""
    with database.reading() as db:
        completions = [row[0] for row in db.execute("SELECT job FROM completions")]
        (integrity,) = db.execute("PRAGMA integrity_check").fetchone()
    assert integrity == "ok"
    assert sorted(completions) == sorted(submitted)
    store = Store(folder / "store", database, quota=1 << 40)
    for name in submitted:
        job = queue.job(name)
        assert job is not None
        assert job.state == "completed"
        assert job.outcome is not None
        for file in job.outcome.files:
            found = store.find(file.hash)
            assert found is not None
            content = found.path.read_bytes()
            assert hashlib.sha256(content).hexdigest() == file.hash
            assert len(content) == file.bytes


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_at_any_point_of_a_job_loses_and_repeats_nothing(tmp_path: Path, point: str) -> None:
    database = Database(tmp_path / "queue.sqlite")
    queue = JobQueue(database)
    keep_completions(tmp_path)
    request = {"prompt": "steps=1 bytes=200000"}
    job, _ = queue.submit(replace(ORDER, request=request), most=9, most_each=9)
    doomed = subprocess.run(
        [sys.executable, "-m", "tests.apps.server.doomed_worker", str(tmp_path), point],
        cwd=ROOT,
        timeout=120,
        check=False,
    )
    assert doomed.returncode == -signal.SIGKILL
    found = queue.job(job.id)
    assert found is not None
    # What the dead process left: nothing, a claim, or a completed job, but never part of one.
    states = {"claiming": "queued", "completed": "completed"}
    assert found.state == states.get(point, "running")
    assert found.outcome is None or point == "completed"
    queue.recovery.crashed(NAME, "SIGKILL")

    worker = Worker(WorkerSettings(str(tmp_path), "heir"), FakeMaker())
    waiting = worker.queue.claims.take("heir")
    if waiting is not None:
        worker.do(waiting)
    assert (waiting is None) == (point == "completed")
    check_all(database, queue, [job.id], tmp_path)
    ended = queue.job(job.id)
    assert ended is not None
    assert ended.attempts == (1 if point in states else 2)
    # Half a file stays under no name that a result could have, until it is swept.
    left = list((tmp_path / "store" / "new").iterdir())
    assert len(left) == (1 if point in ("writing", "written") else 0)
    worker.database.close()
    database.close()


def test_a_dozen_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    torment(tmp_path, kills=12, seed=1, server_share=0.25)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_thousand_kills_lose_nothing_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    torment(tmp_path, kills=250, seed=seed, server_share=0.3)


def test_workers_end_with_their_server(tmp_path: Path) -> None:
    victims = Victims(tmp_path)
    victims.start()
    workers = until(lambda: found if len(found := victims.workers()) == WORKERS else None)
    victims.kill_server()
    until(lambda: not any(Path(f"/proc/{number}/cmdline").exists() for number in workers))


def test_a_second_server_is_refused(tmp_path: Path) -> None:
    victims = Victims(tmp_path)
    victims.start()
    try:
        second = subprocess.run(
            [sys.executable, str(FAKE_SUPERVISOR), str(tmp_path), "1"],
            capture_output=True,
            text=True,
        )
        assert "Another server uses the folder" in second.stderr
    finally:
        victims.kill_server()
