"""Long animations and loops of the built-in model: seams, cost and closure.

    python benchmarks/length.py seams --prompts 4
    python benchmarks/length.py cost --frames 32 64 128 256
    python benchmarks/length.py loops --prompts 20

``seams``: 48 and 64 frames. Warp error (the change that is left after optical flow) between the frames
where a window begins or ends, over that elsewhere; and the largest change between neighbours over
that of 16 frames of the same prompt and seed.

``cost``: processor seconds and peak memory by length, each in a fresh process; a straight line through
the times, and how far the times are from it.

``loops``: with ``--loop``, the mean absolute change from the last frame to the first over the median
change between neighbours.

Each writes ``results/length/NAME.json`` with its command.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8

from animatediff.evaluation.motion_metrics import warp_error
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.settled import settle
from animatediff.sampling.windows.plan import WindowPlan

RESULTS = Path("results/length")
Frames = UInt8[np.ndarray, "frames height width 3"]
PROMPTS = (
    *("a fox, flat style", "a cat, 3d style", "an owl, twemoji style", "a rocket, gradient style"),
    *("a fish, 3d style", "a butterfly, 3d style", "a robot, flat style", "a dog, blob style"),
    *("a crab, 3d style", "a ghost, 3d style", "a red heart, 3d style", "a frog, emojione style"),
    *("a tree, flat style", "a bee, 3d style", "a clock, gradient style", "a whale, 3d style"),
    *("a horse, twemoji style", "a star, flat style", "a fire, 3d style", "a bird, firefox style"),
)
"""Fixed before anything was measured."""
MARGIN = 1.2


def borders_of(plan: WindowPlan) -> set[int]:
    """First frames of the neighbours between which a window of the first step begins or ends."""
    covered = [
        {index for index, window in enumerate(plan.at(0)) if frame in set(window.frames)}
        for frame in range(plan.num_frames)
    ]
    return {i for i in range(plan.num_frames - 1) if covered[i] != covered[i + 1]}


def changes(frames: Frames) -> Float[np.ndarray, " pairs"]:
    """The mean absolute change between neighbours, of 255."""
    return np.abs(np.diff(frames.astype(np.int16), axis=0)).mean((1, 2, 3))


def seams(animator: Animator, prompts: tuple[str, ...], *, lengths: tuple[int, ...]) -> Any:
    """Warp error at the borders of windows over that elsewhere, and the largest jump."""
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(prompts):
        short = animator.animate(prompt, seed=number, upscale=1).frames
        for length in lengths:
            animation = animator.animate(prompt, seed=number, num_frames=length, upscale=1)
            plan = settle(animation.request, animator.model).windows
            errors = np.array([warp_error(animation.frames[i : i + 2]) for i in range(length - 1)])
            at = sorted(borders_of(plan))
            elsewhere = np.delete(errors, at)
            rows.append(
                {
                    "prompt": prompt,
                    "frames": length,
                    "border over elsewhere": float(errors[at].mean() / elsewhere.mean()),
                    "largest jump over that of 16 frames": float(
                        changes(animation.frames).max() / changes(short).max()
                    ),
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    border = [row["border over elsewhere"] for row in rows]
    jump = [row["largest jump over that of 16 frames"] for row in rows]
    return {
        "mean border over elsewhere": float(np.mean(border)),
        "mean largest jump over that of 16 frames": float(np.mean(jump)),
        "animations within 1.2": [
            sum(value <= MARGIN for value in border),
            sum(value <= MARGIN for value in jump),
            len(rows),
        ],
        "rows": rows,
    }


def loops(animator: Animator, prompts: tuple[str, ...]) -> Any:
    """The change from last to first frame over the median between neighbours."""
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(prompts):
        frames = animator.animate(prompt, seed=number, loop=True, upscale=1).frames
        closing = float(np.abs(frames[0].astype(np.int16) - frames[-1]).mean())
        ratio = closing / float(np.median(changes(frames)))
        rows.append({"prompt": prompt, "closing over median": ratio})
        print(json.dumps(rows[-1]), flush=True)
    ratios = [row["closing over median"] for row in rows]
    return {
        "mean closing over median": float(np.mean(ratios)),
        "median closing over median": float(np.median(ratios)),
        "animations at most 1": [sum(ratio <= 1 for ratio in ratios), len(ratios)],
        "rows": rows,
    }


def cost(lengths: tuple[int, ...], *, steps: int) -> Any:
    """Processor seconds and peak memory by length."""
    rows: list[dict[str, float]] = []
    for length in lengths:
        command = [sys.executable, __file__, "one", "--frames", str(length), "--steps", str(steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    counts = np.array([row["frames"] for row in rows])
    seconds = np.array([row["seconds"] for row in rows])
    slope, start = np.polyfit(counts, seconds, 1)
    line = slope * counts + start
    memory = [row["peak MiB"] for row in rows]
    each = seconds / np.array([row["windows"] for row in rows])
    return {
        "seconds for a window, by length": [round(float(value), 3) for value in each],
        "largest distance from their mean": float(np.abs(each / each.mean() - 1).max()),
        "seconds for a frame": float(slope),
        "largest distance from the line": float(np.abs(seconds / line - 1).max()),
        "memory of the longest over that of the shortest": memory[-1] / memory[0],
        "rows": rows,
    }


def one(length: int, *, steps: int) -> Any:
    """Draw one animation in this process and count."""
    animator = _animator()
    animator.animate("a fox", num_frames=16, steps=1, upscale=1)
    started = time.process_time()
    animator.animate("a fox", num_frames=length, steps=steps, upscale=1)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    request = animator.resolved(
        AnimationRequest("a fox", num_frames=length, steps=steps, upscale=1)
    )
    windows = len(settle(request, animator.model).windows.at(0))
    return {
        "frames": length,
        "windows": windows,
        "seconds": round(seconds, 2),
        "peak MiB": round(peak),
    }


def _animator() -> Animator:
    return Animator.load("emoji", runtime=Runtime(device="cpu", threads=1))


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("seams", "cost", "loops", "one"))
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--frames", type=int, nargs="+", default=[])
    parser.add_argument("--steps", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    prompts = PROMPTS[options.first : options.first + options.prompts]
    if options.what == "one":
        print(json.dumps(one(options.frames[0], steps=options.steps)))
        return
    if options.what == "seams":
        report = seams(_animator(), prompts, lengths=tuple(options.frames or (48, 64)))
    elif options.what == "loops":
        report = loops(_animator(), prompts)
    else:
        report = cost(tuple(options.frames or (32, 64, 128, 256)), steps=options.steps)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{options.what}.json"
    facts = {"command": ["python", *sys.argv], "report": report}
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
