"""Everything that the routes share: one value for each running service."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from animatediff.apps.server.answers.events import Broker
from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.incoming.outside import Names, uploads_of
from animatediff.apps.server.incoming.uploads import Inspector
from animatediff.apps.server.logs import Logs
from animatediff.apps.server.metrics import Metrics
from animatediff.apps.server.queue.database import Database
from animatediff.apps.server.queue.job import Job, Order
from animatediff.apps.server.queue.jobs import JobQueue
from animatediff.apps.server.queue.store import Store
from animatediff.apps.server.queue.workers import Workers
from animatediff.apps.server.settings import Settings
from animatediff.sampling.request import AnimationRequest

T = TypeVar("T")
MAX_KEY = 255


@dataclass(frozen=True)
class Service:
    """What the routes share.

    Attributes:
        settings: how it is set up.
        database: the queue's file.
        queue: the jobs.
        store: uploads and results.
        workers: what the worker processes say of themselves.
        names: the models that may be named.
        broker: hands events to open streams.
        inspector: decodes uploads in a confined process.
        metrics: for Prometheus.
        logs: of requests, failures and changes.
    """

    settings: Settings
    database: Database
    queue: JobQueue
    store: Store
    workers: Workers
    names: Names
    broker: Broker
    inspector: Inspector
    metrics: Metrics
    logs: Logs
    # Reads are done where they are asked, as readers of a WAL wait for nobody. Writes may wait for a
    # worker's, and so are done one after another in a thread of their own.
    _writer: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "writer"))

    @classmethod
    def of(cls, settings: Settings) -> Service:
        """Open the queue and the store of a service.

        Raises:
            FileError: the queue is damaged or of a newer version.
            OutputError: the folder cannot be written.
        """
        database = Database(settings.database, checked=True)
        metrics = Metrics()
        queue = JobQueue(database, endurance=settings.endurance)
        return cls(
            settings=settings,
            database=database,
            queue=queue,
            store=Store(settings.store, database, quota=settings.limits.store_bytes),
            workers=Workers(database),
            names=Names(),
            broker=Broker(queue, most=settings.limits.streams),
            inspector=Inspector(settings.limits),
            metrics=metrics,
            logs=Logs(settings.folder, metrics=metrics, level=settings.log_level),
        )

    async def write(self, change: Callable[[], T]) -> T:
        """Do something that changes the database, without holding up other requests."""
        return await asyncio.get_running_loop().run_in_executor(self._writer, change)

    async def submit(
        self,
        request: AnimationRequest,
        *,
        formats: Sequence[str],
        priority: int,
        source: str,
        client: str,
        key: str,
        digest_of: object,
    ) -> tuple[Job, bool]:
        """Queue a checked request; returns the job and whether it is new.

        Args:
            request: as ``outside.read_request`` returned it.
            formats: of the result.
            priority: higher runs earlier.
            source: the API that it came by.
            client: who ordered it.
            key: of ``Idempotency-Key``; empty for none.
            digest_of: what must be equal for an equal key, as the client sent it.

        Raises:
            Full, Conflict: see ``queue/jobs.py``.
            Refused: the key is too long.
        """
        if len(key) > MAX_KEY:
            raise Refused(400, f"The Idempotency-Key is longer than {MAX_KEY} characters.")
        text = json.dumps(digest_of, sort_keys=True, ensure_ascii=False)
        order = Order(
            request=request.as_table(),
            formats=tuple(formats),
            priority=priority,
            source=source,
            client=client,
            key=key,
            digest=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest(),
            uploads=uploads_of(request),
        )
        limits = self.settings.limits
        job, is_new = await self.write(
            lambda: self.queue.submit(order, most=limits.queued, most_each=limits.queued_each)
        )
        if is_new:
            self.logs.audit("submitted", {"job": job.id, "client": client, "source": source})
        return job, is_new

    def has_upload(self, digest: str) -> bool:
        """Whether there is an upload of that hash."""
        stored = self.store.find(digest)
        return stored is not None and stored.uploaded

    def close(self) -> None:
        """Close files and processes."""
        self._writer.submit(self.database.close).result()
        self._writer.shutdown()
        self.database.close()
        self.inspector.close()
        self.logs.close()
