"""What one clip costs a cluster: seconds of CPU and bytes, for batches and for dataset builds.

    python benchmarks/many_machines.py --work /tmp/many

Seconds are of CPU, of this process and its children, so that they hold on a busy machine too. Clips are
of WebVid's usual shape (596 x 336, 25 frames a second, 18 s), drawn as drifting clouds with grain.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from animatediff.apps.cluster.building import Builder, Order
from animatediff.apps.cluster.drawing import packed_drawing, unpacked_drawing
from animatediff.apps.cluster.joining import unpacked
from animatediff.apps.many.work import Drawn
from animatediff.data.builds.samples import BuildOptions, Planned
from animatediff.data.decoding.media import Limits
from animatediff.data.layouts.detect import list_clips
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

SECONDS, RATE, WIDTH, HEIGHT = 18, 25, 596, 336


def cpu_seconds() -> float:
    own, children = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def cost(do: Callable[[], Any], times: int) -> float:
    do()
    before = cpu_seconds()
    for _ in range(times):
        do()
    return (cpu_seconds() - before) / times


def footage(seed: int, *, grain: float = 3) -> np.ndarray:
    noise = np.random.default_rng(seed)
    coarse = noise.uniform(0, 255, (HEIGHT // 16 + 2, WIDTH // 16 + 40, 3))
    cloud = coarse.repeat(16, axis=0).repeat(16, axis=1)
    frames = np.empty((SECONDS * RATE, HEIGHT, WIDTH, 3), np.uint8)
    for number in range(len(frames)):
        grains = noise.normal(0, grain, (HEIGHT, WIDTH, 1))
        frames[number] = np.clip(cloud[:HEIGHT, number : number + WIDTH] + grains, 0, 255)
    return frames


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=3)
    given = parser.parse_args()
    given.work.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(0).integers(0, 255, (16, 32, 32, 3), np.uint8)
    frames = frames.repeat(16, axis=1).repeat(16, axis=2)
    drawn = Drawn(Video(frames, Fraction(8)), {}, AnimationRequest("a fox").validated())
    data = packed_drawing(drawn)
    found: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cpus": os.cpu_count(),
        "animation": "16 frames of 512x512",
        "bytes_sent": len(data),
        "pack_cpu_seconds": cost(lambda: packed_drawing(drawn), 5),
        "unpack_cpu_seconds": cost(lambda: unpacked_drawing(data), 5),
        "encode_mp4_cpu_seconds": cost(lambda: drawn.video.save(given.work / "one.mp4"), 3),
    }
    clips = given.work / "clips"
    clips.mkdir(exist_ok=True)
    for number in range(given.clips):
        path = clips / f"{number}.mp4"
        if not path.exists():
            Video(footage(number), Fraction(RATE)).save(path)
            path.with_suffix(".txt").write_text("clouds")
    entries = list_clips(clips).entries
    options = BuildOptions(size=(256, 256), fps=Fraction(8), frames=16, longest=64, pixels=True)
    builder = Builder(Order(options, "none", Limits(), "cpu", 1, {}))
    source = json.loads(json.dumps(unpacked(builder.hash(entries[0]))[0]))["sha256"]
    plans = [Planned("0" * 32, entry, source, 0.0, 64) for entry in entries]

    def of_all(do: Callable[[Any], bytes], arguments: list[Any]) -> float:
        before = cpu_seconds()
        for argument in arguments:
            assert "failed" not in unpacked(do(argument))[0]
        return (cpu_seconds() - before) / len(arguments)

    seconds = {
        "hash_cpu_seconds": of_all(builder.hash, list(entries)),
        "measure_cpu_seconds": of_all(builder.measure, list(entries)),
        "decode_and_store_cpu_seconds": of_all(builder.make, plans),
    }
    stored = len(builder.make(plans[0]))
    # The decoder's process is counted when it has ended.
    before = cpu_seconds()
    builder._decoder.close()
    seconds["confined_cpu_seconds_of_all"] = (cpu_seconds() - before) / len(entries)
    found |= {
        "clip": f"{SECONDS} s of {WIDTH}x{HEIGHT} at {RATE} fps",
        "clip_bytes": sum(p.stat().st_size for p in clips.glob("*.mp4")) // given.clips,
        "sample": "64 frames of 256x256 at 8 fps",
        "sample_pixels_bytes": stored,
        **seconds,
    }
    print(
        json.dumps(
            {k: round(v, 4) if isinstance(v, float) else v for k, v in found.items()}, indent=1
        )
    )


if __name__ == "__main__":
    main()
