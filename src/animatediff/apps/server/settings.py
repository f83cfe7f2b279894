"""How a service is set up: its folder, its limits, and who may reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class ServiceLimits:
    """Limits on what clients may send and keep.

    Attributes:
        queued: jobs that wait at one time, of all clients.
        queued_each: jobs that one client may have waiting or running.
        json_bytes: the longest JSON body.
        upload_bytes: the largest uploaded file.
        upload_pixels: width x height of one uploaded frame.
        upload_frames: frames of an upload.
        upload_seconds: duration of an upload.
        body_seconds: time for a JSON body to arrive; an upload may take ten times as long.
        rate: requests a second of one client, on average.
        burst: requests of one client at once.
        store_bytes: the store's quota; the oldest results leave first.
        keep_seconds: the age at which finished jobs and unused uploads are deleted.
        streams: event streams that are open at one time.
    """

    queued: int = 500
    queued_each: int = 500
    json_bytes: int = 1 << 20
    upload_bytes: int = 256 << 20
    upload_pixels: int = 4096 * 2304
    upload_frames: int = 4096
    upload_seconds: float = 600.0
    body_seconds: float = 20.0
    rate: float = 50.0
    burst: int = 200
    store_bytes: int = 20 << 30
    keep_seconds: float = 30 * 86_400.0
    streams: int = 1000


@dataclass(frozen=True)
class Endurance:
    """How failures of workers are noticed and how often a job is tried.

    Attributes:
        lease_seconds: a worker that is silent for so long has lost its job.
        heartbeat_seconds: between two signs of life, and two looks at whether a job was cancelled.
        crashes: a job that ended its worker so many times is failed.
        interruptions: a job that was running at so many ends of the whole service is failed.
    """

    lease_seconds: float = 30.0
    heartbeat_seconds: float = 0.5
    crashes: int = 2
    interruptions: int = 5


@dataclass(frozen=True)
class Settings:
    """One service.

    Attributes:
        folder: holds the queue, the store and the logs.
        token: what clients must show; empty for nothing, which only a loopback address may have.
        hosts: names under which browsers may reach it, beside its own address.
        address: what it binds to.
        log_level: of the log on standard error; ``debug`` has a line for every request.
        limits: of clients.
        endurance: of workers and jobs.
        runs: holds training runs for the page to show; ``None`` for none.
        datasets: holds datasets that the page may check; ``None`` for none.
    """

    folder: Path
    token: str = field(default="", repr=False)
    hosts: tuple[str, ...] = ()
    address: str = "127.0.0.1"
    log_level: str = "info"
    limits: ServiceLimits = field(default_factory=ServiceLimits)
    endurance: Endurance = field(default_factory=Endurance)
    runs: Path | None = None
    datasets: Path | None = None

    @property
    def database(self) -> Path:
        """The queue's file."""
        return self.folder / "queue.sqlite"

    @property
    def store(self) -> Path:
        """The folder of uploads and results."""
        return self.folder / "store"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return self.address in LOOPBACK
