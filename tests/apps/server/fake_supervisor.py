"""A server process without HTTP: it supervises fake workers on a folder until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from animatediff.apps.server.service import Service
from animatediff.apps.server.settings import Endurance, Settings
from animatediff.apps.server.working.supervisor import Lock, Supervisor

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_worker.py")))


async def main(folder: Path, workers: int) -> None:
    lock = Lock(folder)
    endurance = Endurance(
        lease_seconds=20.0, heartbeat_seconds=0.05, crashes=10**6, interruptions=10**6
    )
    service = Service.of(Settings(folder, endurance=endurance))
    supervisor = Supervisor(service, devices=["cpu"] * workers, command=FAKE_WORKER)
    print("supervising", flush=True)
    await supervisor.run()
    lock.close()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
