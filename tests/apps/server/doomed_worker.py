"""A worker process that kills itself by SIGKILL at one point in the life of its first job.

python -m tests.apps.server.doomed_worker FOLDER POINT
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.apps.server.fake_worker import FakeMaker

from animatediff.apps.server.working.worker import Worker, WorkerSettings

NAME = "doomed"
POINTS = ("claiming", "claimed", "writing", "written", "moved", "completing", "completed")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_before_commit(worker: Worker, state: str) -> None:
    """Die when the transaction that gives a job that state is about to be committed."""
    seen: list[str] = []

    def look(statement: str) -> None:
        if statement.startswith("UPDATE jobs") and f"state = '{state}'" in statement:
            seen.append(statement)
        elif statement.startswith("COMMIT") and seen:
            die()

    worker.database.connection().set_trace_callback(look)


def after(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, and then death."""

    def both(*words: Any, **named: Any) -> Any:
        found = function(*words, **named)
        die()
        return found

    return both


class HalfWriter:
    """Makes what the fake makes, and dies when half of the file is written."""

    models = ("fake",)

    def make(self, request: Any, **named: Any) -> Any:
        made = FakeMaker().make(request, **named)

        def write(kind: str, temporary: Callable[[str], Path]) -> Any:
            ((path, _),) = made.write(kind, temporary)
            content = path.read_bytes()
            with path.open("wb") as file:
                file.write(content[: len(content) // 2])
                file.flush()
                die()

        return replace(made, write=write)


def main(folder: str, point: str) -> None:
    maker: Any = HalfWriter() if point == "writing" else FakeMaker()
    worker = Worker(WorkerSettings(folder, NAME), maker)
    if point == "claiming":
        die_before_commit(worker, "running")
    elif point == "claimed":
        worker.queue.claims.take = after(worker.queue.claims.take)
    elif point == "written":
        worker.store.take = lambda path, suffix: die()
    elif point == "moved":
        worker.store.take = after(worker.store.take)
    elif point == "completing":
        die_before_commit(worker, "completed")
    elif point == "completed":
        worker.queue.claims.complete = after(worker.queue.claims.complete)
    worker.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
