"""Make many small jobs one after another, and print the memory and open files of server and worker.

    python benchmarks/server_soak.py --jobs 200 --real

starts a server with a worker whose animations are small files of bytes, or with ``--real`` one that
has the built-in model and alternates between two requests: with a motion module and without one. After
every twenty jobs it prints a row. Memory that grows from row to row is a leak.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import httpx
from served import memory_of, served

EVERY = 20
SMALL = {"steps": 1, "num_frames": 2, "width": 64, "height": 64}


def files_of(process: int) -> int:
    """How many files a process has open."""
    return len(list(Path(f"/proc/{process}/fd").iterdir()))


def worker_of(server: int) -> int:
    """The worker's process: the server's child that runs longest as a worker."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    named = [int(c) for c in children if "worker" in Path(f"/proc/{c}/cmdline").read_text()]
    return named[0]


def request(number: int, *, real: bool) -> dict[str, object]:
    """The request of one job."""
    if not real:
        return {"prompt": f"steps=3 bytes=20000 number {number}", "seed": number}
    plain = {"num_frames": 1, "motion": "none"} if number % 2 else {}
    return {"prompt": f"a fox {number}", "seed": number, **SMALL, **plain}


def run(url: str, server: int, *, jobs: int, real: bool) -> None:
    """Make the jobs and print the rows."""
    began, failed = time.monotonic(), 0
    print("jobs  server MiB  server files  worker MiB  worker files")
    with httpx.Client(base_url=url, timeout=60) as http:
        while http.get("/readyz").status_code != 200:
            time.sleep(0.2)
        for number in range(jobs + 1):
            if number % EVERY == 0:
                worker = worker_of(server)
                row = (memory_of(server), files_of(server), memory_of(worker), files_of(worker))
                print("{:4d}  {:10.1f}  {:12d}  {:10.1f}  {:12d}".format(number, *row), flush=True)
            if number == jobs:
                break
            body = {"request": request(number, real=real), "formats": ["mp4"]}
            job = http.post("/api/v1/jobs", json=body).raise_for_status().json()
            while job["state"] in ("queued", "running"):
                time.sleep(0.03)
                job = http.get(f"/api/v1/jobs/{job['id']}").json()
            failed += job["state"] != "completed"
    print(f"{jobs} jobs in {time.monotonic() - began:.0f} s, {failed} not completed")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--real", action="store_true", help="with the built-in model")
    arguments = parser.parse_args()
    with served(real=arguments.real) as (url, server):
        run(url, server, jobs=arguments.jobs, real=arguments.real)


if __name__ == "__main__":
    main()
