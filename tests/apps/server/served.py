"""A whole service for a test: uvicorn in a thread, and fake workers as processes."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import httpx

from animatediff.apps.server.app import create_app
from animatediff.apps.server.serve import Sweeper, bound, server_of
from animatediff.apps.server.service import Service
from animatediff.apps.server.settings import Endurance, ServiceLimits, Settings
from animatediff.apps.server.working.supervisor import Supervisor

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))
QUICK = Endurance(lease_seconds=2.0, heartbeat_seconds=0.1)
GENEROUS = ServiceLimits(rate=10_000.0, burst=100_000, queued=5000, queued_each=5000)


def until(condition: Callable[[], Any], *, seconds: float = 60.0) -> Any:
    """Wait for something that a busy machine may take long for."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen in time")


@dataclass
class Served:
    """A running service; leave the context to stop it."""

    folder: Path
    devices: Sequence[str] = ("cpu",)
    token: str = ""
    limits: ServiceLimits = GENEROUS
    endurance: Endurance = QUICK
    header_seconds: float = 20.0
    command: Sequence[str] = FAKE_WORKER
    datasets: Path | None = None
    runs: Path | None = None
    client: httpx.Client = field(init=False)

    def __enter__(self) -> Self:
        settings = Settings(
            self.folder,
            token=self.token,
            limits=self.limits,
            endurance=self.endurance,
            datasets=self.datasets,
            runs=self.runs,
        )
        self.folder.mkdir(exist_ok=True)
        self.service = Service.of(settings)
        self.supervisor = Supervisor(self.service, devices=self.devices, command=self.command)
        sweeper = Sweeper(self.service.broker, seconds=self.header_seconds)
        app = create_app(self.service, background=(self.supervisor, sweeper))
        self._server = server_of(app)
        sweeper.server = self._server
        listening = bound("127.0.0.1", 0)
        self.port = listening.getsockname()[1]
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, daemon=True
        )
        self._thread.start()
        until(lambda: self._server.started)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=120
        )
        return self

    def __exit__(self, *error: object) -> None:
        self.client.close()
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()
        self.service.close()

    def submit(self, prompt: str, **more: Any) -> dict[str, Any]:
        body = {"request": {"prompt": prompt, "seed": 1}, **more}
        answer = self.client.post("/api/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        return answer.json()

    def job(self, name: str) -> dict[str, Any]:
        answer = self.client.get(f"/api/v1/jobs/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ended(self, name: str) -> dict[str, Any]:
        done = ("completed", "failed", "cancelled")
        return until(lambda: job if (job := self.job(name))["state"] in done else None)


def limited(**changes: Any) -> ServiceLimits:
    return replace(GENEROUS, **changes)
