"""A service with its page on a free port of this machine, with a painter instead of a model."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from tests.apps.page.painter import Painter

from animatediff.apps.server.app import create_app
from animatediff.apps.server.service import Service
from animatediff.apps.server.settings import Settings


@dataclass(frozen=True)
class Served:
    """A running service."""

    url: str
    painter: Painter


@contextlib.contextmanager
def serving(settings: Settings) -> Generator[Served]:
    """Run a service until the block ends."""
    settings.folder.mkdir(parents=True, exist_ok=True)
    service = Service.of(settings)
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(service), log_level="warning", ws="none", timeout_graceful_shutdown=1
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    painter = Painter(settings)
    try:
        while not server.started:
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", painter)
    finally:
        painter.close()
        server.should_exit = True
        thread.join(timeout=10)
        listener.close()


def settings_in(folder: Path) -> Settings:
    return Settings(folder=folder)
