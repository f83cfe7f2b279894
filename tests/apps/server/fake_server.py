"""A whole server as its own process, for load: with one fake worker, or with ``real`` a real one."""

from __future__ import annotations

import sys
from pathlib import Path

from animatediff.apps.server.app import create_app
from animatediff.apps.server.serve import bound, server_of
from animatediff.apps.server.service import Service
from animatediff.apps.server.settings import ServiceLimits, Settings
from animatediff.apps.server.working.supervisor import WORKER, Supervisor

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


def main() -> None:
    limits = ServiceLimits(rate=400.0, burst=1000, queued=200, queued_each=200)
    service = Service.of(Settings(Path(sys.argv[1]), limits=limits))
    command = WORKER if sys.argv[2:] == ["real"] else FAKE_WORKER
    app = create_app(service, background=[Supervisor(service, command=command)])
    listening = bound("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    server_of(app).run(sockets=[listening])
    service.close()


if __name__ == "__main__":
    main()
