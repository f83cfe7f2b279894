"""Throughput of a Ray cluster of this machine with one and with two workers, taken in turns.

    python benchmarks/cluster_speed.py --work /tmp/cluster --rounds 3

A head, on which nothing is drawn, and two nodes with a raylet each are started. Then one worker and two
workers, each with one thread and a loaded model, do the same tasks in turns (one, two, two, one, ...),
so that a busy machine slows both: animations of the built-in model, streamed through Ray Data, encoded
and published by the driver as `animatediff batch --ray` does, and clips of WebVid's usual shape, built
into samples as `animatediff dataset build --ray` does. Starting workers and loading models is not
counted. Processor time is that of the workers and of what they start; the share of the machine that
other programs took is printed too. Without idle cores, two workers cannot be twice as fast: compare the
processor time of a task, which then says what a core does.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import json
import os
import secrets
import statistics
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from many_machines import footage

from animatediff.apps.cluster.building import OnCluster, Order
from animatediff.apps.cluster.drawing import Drawer, unpacked_drawing
from animatediff.apps.cluster.joining import ClusterOptions, Failed, connected
from animatediff.apps.cluster.stream import Stream
from animatediff.data.builds.samples import BuildOptions
from animatediff.data.builds.write import build_shards
from animatediff.data.decoding.media import Limits
from animatediff.data.layouts.detect import list_clips
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

TICKS = os.sysconf("SC_CLK_TCK")
MEMORY = 200 << 20


def start_cluster(folder: Path) -> Any:
    """A head without CPUs and two nodes of four logical CPUs each; tokens are on."""
    token = folder / "token"
    token.write_text(secrets.token_hex(16))
    os.environ |= {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(token),
        "RAY_USAGE_STATS_ENABLED": "0",
        "OMP_NUM_THREADS": "1",
    }
    cluster_utils: Any = importlib.import_module("ray.cluster_utils")
    head = {"num_cpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        cluster.add_node(num_cpus=4, object_store_memory=MEMORY)
    return cluster


def processes() -> dict[int, tuple[int, str, float]]:
    """The parent, the command and the processor seconds (of ended children too) of each process."""
    found: dict[int, tuple[int, str, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue
        found[int(entry.name)] = (int(fields[1]), command, sum(map(int, fields[11:15])) / TICKS)
    return found


def of_actors() -> float:
    """Processor seconds of all actors, and of the decoders that they started."""
    all_of_them = processes()
    actors = {pid for pid, (_, command, _) in all_of_them.items() if command.startswith("ray::")}
    total = 0.0
    for pid, (parent, _, seconds) in all_of_them.items():
        if pid in actors or parent in actors:
            total += seconds
    return total


def of_machine() -> float:
    """Processor seconds that the machine has worked."""
    user, nice, system = map(int, Path("/proc/stat").read_text().split("\n")[0].split()[1:4])
    return (user + nice + system) / TICKS


def timed(do: Callable[[], int]) -> dict[str, float]:
    """Do tasks and return what one of them took."""
    began, own, actors, machine = (
        time.monotonic(),
        time.process_time(),
        of_actors(),
        of_machine(),
    )
    count = do()
    seconds, driver = time.monotonic() - began, time.process_time() - own
    worked = of_actors() - actors
    cores = os.cpu_count() or 1
    others = (of_machine() - machine - worked - driver) / (seconds * cores)
    return {
        "per_minute": 60 * count / seconds,
        "worker_cpu_seconds": worked / count,
        "driver_cpu_seconds": driver / count,
        "others": others,
    }


def in_turns(
    labours: dict[int, Callable[[], dict[str, float]]], rounds: int
) -> Iterator[tuple[int, dict[str, float]]]:
    """Take them in turns: one, two, two, one, ..."""
    for number in range(rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            yield workers, labours[workers]()


def report(name: str, labours: dict[int, Callable[[], dict[str, float]]], rounds: int) -> None:
    """Measure and print a row for each run, and the medians."""
    runs: dict[int, list[dict[str, float]]] = {1: [], 2: []}
    for workers, row in in_turns(labours, rounds):
        runs[workers].append(row)
        shown = {key: round(value, 3) for key, value in row.items()}
        print(json.dumps({"what": name, "workers": workers, **shown}), flush=True)
    ratios = [
        two["per_minute"] / one["per_minute"] for one, two in zip(runs[1], runs[2], strict=True)
    ]
    medians = {
        str(workers): {
            key: round(statistics.median(row[key] for row in rows), 3) for key in rows[0]
        }
        for workers, rows in runs.items()
    }
    ratio = round(statistics.median(ratios), 2)
    print(json.dumps({"what": name, "medians": medians, "two to one, paired": ratio}), flush=True)


def batches(options: dict[int, ClusterOptions], folder: Path, tasks: int) -> dict[int, Any]:
    """For each number of workers, a function that draws and publishes animations, measured."""
    from animatediff.model.fast.linear_library import choices_here

    def animations(workers: int) -> Iterator[None]:
        # More than are measured, so that every worker has one before and after.
        requests = {
            seed: AnimationRequest(
                "a fox", seed=seed, steps=4, num_frames=8, upscale=1, precision="fp32"
            )
            for seed in range(tasks + 6 * workers)
        }
        ray = connected(options[workers])
        stream = Stream(ray, options[workers], Drawer, ("cpu", 1, choices_here()))
        given = {seed: request.validated().to_json() for seed, request in requests.items()}
        for number, data in stream.results(given):
            drawn = unpacked_drawing(data)
            if isinstance(drawn, Failed):
                raise SystemExit(drawn.sentence)
            drawn.video.save(folder / f"{workers}-{number}.mp4")
            yield

    def labour(workers: int) -> dict[str, float]:
        drawn = animations(workers)
        for _ in itertools.islice(drawn, 3 * workers):
            pass
        row = timed(lambda: sum(1 for _ in itertools.islice(drawn, tasks)))
        for _ in drawn:
            pass
        return row

    return {workers: functools.partial(labour, workers) for workers in (1, 2)}


def builds(
    options: dict[int, ClusterOptions], folder: Path, tasks: int, grain: float
) -> dict[int, Any]:
    """For each number of workers, a function that builds the clips into a new folder, measured."""
    clips = folder / f"clips-{grain:g}"
    clips.mkdir(exist_ok=True)
    for number in range(tasks):
        path = clips / f"{number}.mp4"
        if not path.exists():
            Video(footage(number, grain=grain), Fraction(25)).save(path)
            path.with_suffix(".txt").write_text(f"clouds {number}")
    wanted = BuildOptions(size=(256, 256), fps=Fraction(8), frames=16, longest=64, most_overlay=1)
    size = sum(path.stat().st_size for path in clips.glob("*.mp4")) // tasks
    print(json.dumps({"clip": "18 s of 596x336 at 25 fps", "clip_bytes": size}), flush=True)
    order = Order(wanted, "none", Limits(), "cpu", 1, {})

    def labour(workers: int) -> Callable[[], dict[str, float]]:
        crew = OnCluster(order, options[workers])

        def do() -> int:
            out = folder / f"shards-{time.monotonic_ns()}"
            build_shards(list_clips(clips), out, wanted, labour=crew)
            return tasks

        do()
        return functools.partial(timed, do)

    return {workers: labour(workers) for workers in (1, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--animations", type=int, default=12)
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--grain", type=float, default=0.8, help="0.8 makes clips of WebVid's size")
    parser.add_argument("--what", default="batch,build")
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    cluster = start_cluster(given.work)
    try:
        options = {n: ClusterOptions(cluster.address, n, "cpu", 1) for n in (1, 2)}
        print(json.dumps({"date": time.strftime("%Y-%m-%d"), "cores": os.cpu_count()}))
        if "batch" in given.what:
            report("batch", batches(options, given.work, given.animations), given.rounds)
        if "build" in given.what:
            made = builds(options, given.work, given.clips, given.grain)
            report("build", made, given.rounds)
    finally:
        importlib.import_module("ray").shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main()
