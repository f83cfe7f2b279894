"""Make many small jobs one after another, and print the memory and open files of server and worker.

    python benchmarks/server_soak.py --jobs 500 --minutes 120 --real

starts a server with a worker whose animations are small files of bytes, or with ``--real`` one that
has the built-in models and goes through four requests, again and again: with motion modules, without,
with a LoRA and a MotionLoRA, and with another image model. Each must give the same frames whenever it
returns. With ``--minutes`` the jobs are spread over that time. After every twenty jobs it prints a row.
Memory that grows from row to row is a leak.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import time
from pathlib import Path
from typing import Any

import av
import httpx
from served import memory_of, served

EVERY = 20
SMALL: dict[str, Any] = {"steps": 1, "num_frames": 2, "width": 64, "height": 64, "upscale": 1}
KINDS: tuple[dict[str, Any], ...] = (
    {},
    {"num_frames": 1, "motion": "none"},
    {"loras": ["noto:0.8"], "motion_loras": ["pan-right:1"]},
    {"model": "emoji-noto"},
)


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
    return {"prompt": "a fox", "seed": 7, **SMALL, **KINDS[number % len(KINDS)]}


def frames_of(http: httpx.Client, job: dict[str, Any]) -> str:
    """A hash of the frames of a job's result."""
    file = http.get(job["results"][0]["url"]).raise_for_status().content
    with av.open(io.BytesIO(file), "r") as container:
        pixels = (frame.to_ndarray(format="rgb24").tobytes() for frame in container.decode(video=0))
        return hashlib.sha256(b"".join(pixels)).hexdigest()


def run(url: str, server: int, *, jobs: int, minutes: float, real: bool) -> None:
    """Make the jobs and print the rows."""
    began, failed, other = time.monotonic(), 0, 0
    first: dict[int, str] = {}
    print("jobs  server MiB  server files  worker MiB  worker files")
    with httpx.Client(base_url=url, timeout=60) as http:
        while not http.get("/readyz").is_success:
            time.sleep(0.2)
        for number in range(jobs + 1):
            if number % EVERY == 0:
                worker = worker_of(server)
                row = (memory_of(server), files_of(server), memory_of(worker), files_of(worker))
                print("{:4d}  {:10.1f}  {:12d}  {:10.1f}  {:12d}".format(number, *row), flush=True)
            if number == jobs:
                break
            time.sleep(max(0.0, began + 60 * minutes * number / jobs - time.monotonic()))
            body = {"request": request(number, real=real), "formats": ["mp4"]}
            made = http.post("/api/v1/jobs", json=body)
            assert made.is_success, made.text
            job = made.json()
            while job["state"] in ("queued", "running"):
                time.sleep(0.03)
                job = http.get(f"/api/v1/jobs/{job['id']}").json()
            failed += job["state"] != "completed"
            if real and job["state"] == "completed":
                frames = frames_of(http, job)
                other += first.setdefault(number % len(KINDS), frames) != frames
    print(f"{jobs} jobs in {time.monotonic() - began:.0f} s, {failed} not completed")
    if real:
        print(f"{other} of other frames than the first of the same request")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=0, help="spread the jobs over this time")
    parser.add_argument("--real", action="store_true", help="with the built-in model")
    arguments = parser.parse_args()
    with served(real=arguments.real) as (url, server):
        run(url, server, jobs=arguments.jobs, minutes=arguments.minutes, real=arguments.real)


if __name__ == "__main__":
    main()
