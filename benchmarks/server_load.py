"""Load a server with many clients that list, submit and stream, and print its latencies.

    python benchmarks/server_load.py --clients 200 --minutes 5

starts a server with a worker whose animations are small files of bytes, or with ``--real`` one that
has the built-in model, so that a job always runs. The clients are on loopback, each with a pause
between two calls. It prints the 50th and 99th percentile of the calls that generate nothing, every
status code, and the server's memory at the start and on the way.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter

import httpx
from served import memory_of, served

CALLS = (
    ("GET", "/api/v1/jobs?limit=20", 6),
    ("GET", "/api/v1/queue", 3),
    ("GET", "/healthz", 2),
    ("GET", "/api/v1/options", 1),
    ("GET", "/api/v1/models", 1),
    ("POST", "/api/v1/jobs", 2),
    ("STREAM", "", 1),
)


async def client(
    http: httpx.AsyncClient,
    end: float,
    pause: float,
    real: bool,
    results: list[tuple[str, int, float]],
) -> None:
    chance = random.Random()
    jobs: list[str] = []
    await asyncio.sleep(chance.random() * 2 * pause)
    while time.monotonic() < end:
        method, path, _ = chance.choices(CALLS, [weight for _, _, weight in CALLS])[0]
        began = time.perf_counter()
        name = f"{method} {path.partition('?')[0]}"
        try:
            if method == "STREAM":
                if not jobs:
                    continue
                status = await stream(http, jobs[-1])
                name = "STREAM"
            elif method == "POST":
                prompt = "a fox" if real else "steps=5 sleep=0.01"
                body = {"request": {"prompt": prompt, "seed": -1}}
                answer = await http.post(path, json=body)
                status = answer.status_code
                if status == 202:
                    jobs.append(answer.json()["id"])
            else:
                status = (await http.get(path)).status_code
        except httpx.HTTPError as error:
            status = 0
            name = f"{name} {type(error).__name__}"
        results.append((name, status, time.perf_counter() - began))
        await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)


async def stream(http: httpx.AsyncClient, job: str) -> int:
    """Follow a job for at most some seconds."""
    try:
        async with asyncio.timeout(5):
            async with http.stream("GET", f"/api/v1/jobs/{job}/events") as answer:
                async for _ in answer.aiter_lines():
                    pass
                return answer.status_code
    except TimeoutError:
        return 200


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of the values is."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def run(arguments: argparse.Namespace, url: str, server: int) -> None:
    results: list[tuple[str, int, float]] = []
    async with httpx.AsyncClient(base_url=url) as http:
        while (await http.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.2)
    before = memory_of(server)
    # A client takes milliseconds to make, which would hold up the others; none is needed for https.
    sessions = [
        httpx.AsyncClient(base_url=url, timeout=60, verify=False)  # noqa: S501
        for _ in range(arguments.clients)
    ]
    end = time.monotonic() + 60 * arguments.minutes
    clients = [client(http, end, arguments.pause, arguments.real, results) for http in sessions]
    watch = asyncio.create_task(watched(server, end))
    await asyncio.gather(*clients)
    memories = await watch
    for http in sessions:
        await http.aclose()
    quick = [seconds for name, _, seconds in results if name.startswith(("GET", "POST"))]
    print(f"{len(results)} calls of {arguments.clients} clients in {arguments.minutes} minutes")
    print(
        f"p50 {1000 * percentile(quick, 0.5):.1f} ms, p99 {1000 * percentile(quick, 0.99):.1f} ms"
    )
    for name in sorted({name for name, _, _ in results}):
        own = [(status, seconds) for each, status, seconds in results if each == name]
        times = [seconds for _, seconds in own]
        print(
            f"  {name}: {json.dumps(Counter(status for status, _ in own))} "
            f"p99 {1000 * percentile(times, 0.99):.1f} ms"
        )
    print(f"memory of the server: {before:.0f} MiB before, then {memories} MiB")
    wrong = [status for _, status, _ in results if status not in (200, 202, 429)]
    print(f"answers other than success and 429: {Counter(wrong) or 'none'}")


async def watched(server: int, end: float) -> list[int]:
    """The server's memory, ten times on the way."""
    found: list[int] = []
    step = (end - time.monotonic()) / 10
    for _ in range(10):
        await asyncio.sleep(step)
        found.append(round(memory_of(server)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument(
        "--pause", type=float, default=1.0, help="seconds between two calls of a client"
    )
    parser.add_argument("--real", action="store_true", help="make real animations meanwhile")
    arguments = parser.parse_args()
    with served(real=arguments.real) as (url, server):
        asyncio.run(run(arguments, url, server))


if __name__ == "__main__":
    main()
