"""Long animations and loops of the built-in model: seams, cost and closure.

    python benchmarks/length.py seams --prompts 4
    python benchmarks/length.py cost --rounds 3
    python benchmarks/length.py memory
    python benchmarks/length.py loops --prompts 20

``seams``: 48, 64 and 256 frames. Warp error (the change that is left after optical flow) between the
frames where a window begins or ends, over that elsewhere; and the largest change between neighbours
over that of 16 frames of the same prompt and seed.

``cost``: processor seconds by length, measured in turn in one process; a straight line through them,
and how far they are from it. The lengths fill whole windows; any other needs one more for its rest.

``memory``: peak memory by length, each in a fresh process.

``loops``: with ``--loop``, the mean absolute change from the last frame to the first over the median
change between neighbours. Loops begin where neighbours differ least; the pair that would be the last
and first without that is given as well, with how many of the other pairs differ less: half of them, if
nothing tells the pair from others.

Each writes ``results/length/NAME.json`` with its command.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8

from animatediff.evaluation.motion_metrics import warp_error
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.choosing.keywords import Choices
from animatediff.sampling.settled import settle
from animatediff.sampling.windows.options import WindowPlace
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
QUICK: Choices = {"steps": 1, "from_still": 1.0, "upscale": 1}
"""One step, without a still and without the upscaler."""


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


def seams(
    animator: Animator,
    prompts: tuple[str, ...],
    *,
    lengths: tuple[int, ...],
    overlap: int | None,
    place: WindowPlace | None,
) -> Any:
    """Warp error at the borders of windows over that elsewhere, and the largest jump."""
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(prompts):
        short = animator.animate(prompt, seed=number, upscale=1).frames
        for length in lengths:
            animation = animator.animate(
                prompt,
                seed=number,
                num_frames=length,
                upscale=1,
                window_overlap=overlap,
                windows_in=place,
            )
            settled = settle(animation.request, animator.model)
            plan = settled.views or settled.windows
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
    """The change from last to first frame over the median between neighbours.

    Also of the pair that was last and first before the loop was turned to its calmest moment.
    """
    rows: list[dict[str, Any]] = []
    for number, prompt in enumerate(prompts):
        animation = animator.animate(prompt, seed=number, loop=True, upscale=1)
        frames = animation.frames
        around = changes(np.concatenate([frames, frames[:1]]))
        found = re.search(r"begins at frame (\d+)", " ".join(animation.report.notes))
        begins = int(found[1]) if found else 0
        before = np.roll(around, begins)
        rows.append(
            {
                "prompt": prompt,
                "closing over median": float(around[-1] / np.median(around[:-1])),
                "before turning": float(before[-1] / np.median(before[:-1])),
                "smaller pairs before turning": int((before[:-1] < before[-1]).sum()),
                "largest over median": float(around.max() / np.median(around)),
            }
        )
        print(json.dumps(rows[-1]), flush=True)

    def mean(name: str) -> float:
        return float(np.mean([row[name] for row in rows]))

    return {
        "mean closing over median": mean("closing over median"),
        "animations at most 1": [
            sum(row["closing over median"] <= 1 for row in rows),
            sum(row["before turning"] <= 1 for row in rows),
            len(rows),
        ],
        "mean before turning": mean("before turning"),
        "mean smaller pairs before turning": mean("smaller pairs before turning"),
        "mean largest over median": mean("largest over median"),
        "rows": rows,
    }


def cost(lengths: tuple[int, ...], *, rounds: int) -> Any:
    """Processor seconds of one step by length, in turn in one process; the least of the rounds."""
    animator = _animator()
    animator.animate("a fox", num_frames=16, **QUICK)
    taken: dict[int, list[float]] = {length: [] for length in lengths}
    for _ in range(rounds):
        for length in lengths:
            started = time.process_time()
            animator.animate("a fox", num_frames=length, **QUICK)
            taken[length].append(round(time.process_time() - started, 2))
            print(json.dumps({"frames": length, "seconds": taken[length][-1]}), flush=True)
    counts = np.array(lengths)
    seconds = np.array([min(each) for each in taken.values()])
    slope, start = np.polyfit(counts, seconds, 1)
    return {
        "seconds for a frame": float(slope),
        "largest distance from the line": float(
            np.abs(seconds / (slope * counts + start) - 1).max()
        ),
        "seconds by length": taken,
    }


def memory(lengths: tuple[int, ...]) -> Any:
    """Peak memory by length, each in a fresh process."""
    rows: list[dict[str, float]] = []
    for length in lengths:
        command = [sys.executable, __file__, "one", "--frames", str(length)]
        command += ["--windows-in", QUICK["windows_in"]] if QUICK.get("windows_in") else []
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(json.dumps(rows[-1]), flush=True)
    peaks = [row["peak MiB"] for row in rows]
    return {"longest over shortest": peaks[-1] / peaks[0], "rows": rows}


def one(length: int) -> Any:
    """Draw one animation in this process and return the peak of its memory."""
    _animator().animate("a fox", num_frames=length, **QUICK)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": length, "peak MiB": round(peak)}


def _animator() -> Animator:
    return Animator.load("emoji", runtime=Runtime(device="cpu", threads=1))


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("seams", "cost", "memory", "loops", "one"))
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--frames", type=int, nargs="+", default=[])
    parser.add_argument("--windows-in", choices=get_args(WindowPlace))
    parser.add_argument("--overlap", type=int, help="of windows, for seams")
    parser.add_argument("--output", default="", help="NAME of the results, if not what is measured")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.windows_in:
        QUICK["windows_in"] = options.windows_in
    prompts = PROMPTS[options.first : options.first + options.prompts]
    if options.what == "one":
        print(json.dumps(one(options.frames[0])))
        return
    if options.what == "seams":
        report = seams(
            _animator(),
            prompts,
            lengths=tuple(options.frames or (48, 64, 256)),
            overlap=options.overlap,
            place=options.windows_in,
        )
    elif options.what == "loops":
        report = loops(_animator(), prompts)
    elif options.what == "memory":
        report = memory(tuple(options.frames or (32, 256)))
    else:
        report = cost(tuple(options.frames or (40, 64, 136, 256)), rounds=options.rounds)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{options.output or options.what}.json"
    facts = {"command": ["python", *sys.argv], "report": report}
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
