"""The worker process: claims jobs from the queue, makes them one at a time, and publishes results.

The server starts one for each device and holds the other end of its standard input. When that end
closes, the server is gone, and the worker ends at once: the next server takes the job back. SIGTERM
lets it give its job back first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from animatediff.apps.failures import EXIT_CODES, explain
from animatediff.apps.options.machine import Memory
from animatediff.apps.server.answers.sentences import without_paths
from animatediff.apps.server.formats import RESULT_FORMATS
from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import Failure, Job, Outcome, ResultFile
from animatediff.apps.server.queue.jobs import JobQueue
from animatediff.apps.server.queue.store import Store
from animatediff.apps.server.queue.workers import Workers
from animatediff.apps.server.settings import Endurance
from animatediff.errors import Cancelled, FileError, OutputError

POLL_SECONDS = 0.1
PROGRESS_SECONDS = 0.15
"""The least time between two reports of progress."""
PREVIEW_SECONDS = 1.0
"""The least time between two previews ..."""
PREVIEW_SHARE = 10
"""... which is longer if they are slow: they take at most one part in so many of the time."""
ALIVE_SECONDS = 2.0
WRITE_TRIES = 3
NICENESS = 5
"""Workers leave the processor to the server, whose answers people wait for."""


@dataclass(frozen=True)
class WorkerSettings:
    """One worker process.

    Attributes:
        folder: of the service.
        name: of this worker; no two have the same, ever.
        device: where it computes, such as ``cuda:0`` or ``auto``.
        workers: how many there are, to share the machine's memory.
        threads: CPU threads; ``None`` for torch's choice.
        compile: whether it compiles its models.
        memory: whether weights are all where they compute.
        model_bytes: memory for loaded models; ``None`` for a share of the device's.
        store_bytes: the store's quota.
        endurance: as the server has it.
    """

    folder: str
    name: str
    device: str = "auto"
    workers: int = 1
    threads: int | None = None
    compile: bool = False
    memory: Memory = "full"
    model_bytes: int | None = None
    store_bytes: int = 20 << 30
    endurance: Endurance = field(default_factory=Endurance)

    def to_json(self) -> str:
        """As text for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerSettings:
        """What ``to_json`` wrote."""
        table = json.loads(text)
        endurance = Endurance(**table.pop("endurance"))
        return cls(**table, endurance=endurance)


@dataclass(frozen=True)
class Step:
    """How far a job is.

    Attributes:
        stage: ``load``, ``denoise`` or ``decode``.
        step: how many steps of it are done.
        steps: of how many.
        preview: draws a contact sheet as a JPEG; ``None`` if there is nothing to see yet.
    """

    stage: str
    step: int
    steps: int
    preview: Callable[[], bytes] | None = None


@dataclass(frozen=True)
class Made:
    """What a job gave, not yet written.

    Attributes:
        resolved: the request with every choice made, as a table without paths.
        notes: what is to be known, a sentence each.
        seconds: spent in each stage.
        name: for downloads, without suffix.
        thumbnail: a JPEG of the first frame.
        write: writes one format: takes its name and a function that names the next temporary file
            with a suffix; returns the files and their media types.
    """

    resolved: Mapping[str, Any]
    notes: tuple[str, ...]
    seconds: Mapping[str, float]
    name: str
    thumbnail: bytes
    write: Callable[[str, Callable[[str], Path]], list[tuple[Path, str]]]


class Maker(Protocol):
    """Makes animations: the loaded models of this process, or something smaller in a test."""

    @property
    def models(self) -> tuple[str, ...]:
        """What is loaded, a line each."""
        ...

    def make(
        self,
        request: Mapping[str, Any],
        *,
        path_of: Callable[[str], str],
        on_step: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> Made:
        """Make what a stored request asks for.

        Args:
            request: its table; inputs are hashes of uploads.
            path_of: the path of an upload.
            on_step: told after every step.
            should_stop: asked before every step.

        Raises:
            Cancelled: ``should_stop`` said so.
        """
        ...


class Worker:
    """Makes jobs until it is told to stop.

    Args:
        settings: of this worker.
        maker: makes the animations.
    """

    def __init__(self, settings: WorkerSettings, maker: Maker) -> None:
        folder = Path(settings.folder)
        self.settings = settings
        self.maker = maker
        self.database = Database(folder / "queue.sqlite")
        self.queue = JobQueue(self.database, endurance=settings.endurance)
        self.store = Store(folder / "store", self.database, quota=settings.store_bytes)
        self.table = Workers(self.database)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Claim and make jobs until ``stopping`` is set."""
        said = -ALIVE_SECONDS
        while not self.stopping.is_set():
            try:
                job = self.queue.claims.take(self.settings.name)
                if job is None:
                    if time.monotonic() - said > ALIVE_SECONDS:
                        self._say("idle")
                        said = time.monotonic()
                    self.stopping.wait(POLL_SECONDS)
                    continue
                self._say("busy", job.id)
                self.do(job)
                said = -ALIVE_SECONDS
            except OutputError as error:  # the disk is full or locked: it may be well in a moment
                print(f"worker {self.settings.name}: {error}", file=sys.stderr, flush=True)
                self.stopping.wait(1.0)

    def do(self, job: Job) -> None:
        """Make one claimed job, whatever becomes of it."""
        with _Heart(self.queue, job, self.settings.endurance.heartbeat_seconds) as heart:

            def should_stop() -> bool:
                return heart.cancel.is_set() or heart.lost.is_set() or self.stopping.is_set()

            try:
                made = self.maker.make(
                    job.request,
                    path_of=self._path_of,
                    on_step=_Reports(self.queue, job).report,
                    should_stop=should_stop,
                )
                if should_stop():
                    raise Cancelled
                self.queue.claims.progress(job, stage="write", step=0, steps=len(job.formats))
                outcome, suffixes = self._written(job, made)
                if heart.cancel.is_set():
                    raise Cancelled
            except Cancelled:
                self._end(
                    lambda: (
                        self.queue.claims.stopped(job)
                        if heart.cancel.is_set()
                        else self.queue.claims.give_back(job)
                    )
                )
                return
            except Exception as error:  # noqa: BLE001 - whatever fails, the queue goes on
                code, sentence = explain(error)
                failure = Failure(_title(code), without_paths(sentence), code)
                # Outside of the error's traceback, which holds the memory of what failed.
            else:
                self._end(
                    lambda: self.queue.claims.complete(
                        job, outcome, thumbnail=made.thumbnail, suffixes=suffixes
                    )
                )
                return
        self._end(lambda: self.queue.claims.fail(job, failure))

    def _end(self, change: Callable[[], bool]) -> None:
        """Write how a job ended; a full disk is tried again, and then its lease runs out."""
        for number in range(WRITE_TRIES):
            try:
                change()
            except OutputError:
                if number == WRITE_TRIES - 1:
                    raise
                time.sleep(0.5)
            else:
                return

    def _written(self, job: Job, made: Made) -> tuple[Outcome, dict[str, str]]:
        """Write every format into the store, each file whole or not at all.

        Raises:
            OutputError: the disk is full or read-only.
        """
        files: list[ResultFile] = []
        suffixes: dict[str, str] = {}
        with contextlib.ExitStack() as stack:
            for kind in job.formats:
                written = made.write(
                    kind, lambda suffix: stack.enter_context(self.store.temporary(suffix))
                )
                for number, (path, media_type) in enumerate(written):
                    suffix = path.suffix
                    digest, size = self.store.take(path, suffix=suffix)
                    suffixes[digest] = suffix
                    frame = f"-{number:04d}" if len(written) > 1 else ""
                    ending = RESULT_FORMATS[kind].name_suffix or suffix
                    name = f"{made.name}{frame}{ending}"
                    files.append(ResultFile(digest, kind, media_type, size, name))
        outcome = Outcome(
            files=tuple(files),
            resolved=made.resolved,
            notes=tuple(without_paths(note) for note in made.notes),
            seconds=made.seconds,
        )
        return outcome, suffixes

    def _path_of(self, digest: str) -> str:
        stored = self.store.find(digest)
        if stored is None:
            raise FileError(f"The upload {digest[:12]}… has expired; upload it again.")
        return str(stored.path)

    def _say(self, state: str, job: str = "") -> None:
        with contextlib.suppress(OutputError):
            self.table.say(
                self.settings.name,
                device=self.settings.device,
                state=state,
                job=job,
                models=self.maker.models,
            )


class _Heart:
    """Renews the lease of a job in a thread, and notices that it was cancelled or lost."""

    def __init__(self, queue: JobQueue, job: Job, every: float) -> None:
        self.queue = queue
        self.job = job
        self.every = every
        self.cancel = threading.Event()
        self.lost = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heart", daemon=True)

    def __enter__(self) -> _Heart:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._ended.wait(self.every):
            try:
                answer = self.queue.claims.beat(self.job)
            except (OutputError, FileError):
                continue  # the lease has time for some more tries
            if answer is None:
                self.lost.set()
                break
            if answer:
                self.cancel.set()
        self.queue.database.close()


class _Reports:
    """Writes progress and previews of one job, not too often."""

    def __init__(self, queue: JobQueue, job: Job) -> None:
        self.queue = queue
        self.job = job
        self._stage = ""
        self._reported = -PROGRESS_SECONDS
        self._previewed = -PREVIEW_SECONDS
        self._cost = 0.0

    def report(self, step: Step) -> None:
        now = time.monotonic()
        ends = step.stage != self._stage or step.step >= step.steps
        if not ends and now - self._reported < PROGRESS_SECONDS:
            return
        preview = None
        wait = max(PREVIEW_SECONDS, PREVIEW_SHARE * self._cost)
        last = step.stage == "decode" and step.step >= step.steps
        if step.preview is not None and (last or now - self._previewed >= wait):
            preview = step.preview()
            self._previewed = time.monotonic()
            self._cost = self._previewed - now
        with contextlib.suppress(OutputError):  # progress is not worth a job
            self.queue.claims.progress(
                self.job, stage=step.stage, step=step.step, steps=step.steps, preview=preview
            )
        self._stage, self._reported = step.stage, now


def _title(code: int) -> str:
    text = EXIT_CODES.get(code, EXIT_CODES[1])
    return text[0].upper() + text[1:]


@contextlib.contextmanager
def while_the_server_lives() -> Generator[None]:
    """End this process at once when the other end of its standard input closes."""

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(0)

    threading.Thread(target=watch, name="watch", daemon=True).start()
    yield


def run_worker(make_maker: Callable[[WorkerSettings], Maker]) -> None:
    """Be a worker process; its settings are the first word of the command line."""
    settings = WorkerSettings.from_json(sys.argv[1])
    with while_the_server_lives():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
        if hasattr(os, "nice"):
            os.nice(NICENESS)
        worker = Worker(settings, make_maker(settings))
        signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
        worker.run()
        worker.table.gone(settings.name)
        # Not through the interpreter's end, which a library's thread may hold up.
        sys.stdout.flush()
        os._exit(0)


def main() -> None:
    """Be a worker process that has the real models."""
    from animatediff.apps.server.working.making import AnimationMaker

    run_worker(AnimationMaker.of)


if __name__ == "__main__":
    main()
