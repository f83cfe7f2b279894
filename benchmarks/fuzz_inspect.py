"""Does any broken file make ``inspect`` crash, hang, or take memory? Mutated headers of every kind.

The numbers of the files are left out, so that a file is little more than its header and what is
allocated is large next to it. Prints one line of JSON; a find is a traceback and the file is kept::

    nice -n 15 python benchmarks/fuzz_inspect.py --files 200000
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.weights import synthetic
from tests.weights.mutations import mutated, overwrite

from animatediff.errors import FileError
from animatediff.weights.inspect import inspect

SHARE_OF_WHOLE_HEADERS = 0.03
"""The other files have 40 of the names of their kind, so that many fit into an hour."""
MOST_SECONDS = 1.0
MOST_TIMES_THE_FILE = 4
BASE_BYTES = 1 << 20
"""What any call takes, however small the file."""


@dataclass(frozen=True)
class Options:
    """How much to try."""

    files: int = 200_000
    seed: int = 0
    minutes: float = 60.0
    """After so many it stops, and says how many files it came to."""


def seeds_of(folder: Path, rng: random.Random, *, names: int | None) -> list[bytes]:
    """A file of every published kind whose tensors are all empty."""
    made: list[bytes] = []
    for sample in synthetic.SAMPLES:
        shapes = list(synthetic.shapes_of(sample).items())
        if names is not None and len(shapes) > names:
            shapes = rng.sample(shapes, names)
        specs = {key: ("F16", (*shape[:-1], 0)) for key, shape in shapes}
        metadata = dict(synthetic.SAMPLES[sample].metadata)
        made.append(synthetic.write_header(folder / "seed", specs, metadata).read_bytes())
    return made


def fuzz(options: Options) -> dict[str, float | int | dict[str, int]]:
    """Try mutated files; a find stops it."""
    rng = random.Random(options.seed)
    answers: Counter[str] = Counter()
    slowest, largest, spent = 0.0, 0.0, 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        small, whole = (seeds_of(folder, rng, names=names) for names in (40, None))
        path = folder / "fuzzed"
        path.touch()
        tracemalloc.start()
        end = time.monotonic() + 60 * options.minutes
        for i in range(options.files):
            if time.monotonic() > end:
                break
            seeds = whole if rng.random() < SHARE_OF_WHOLE_HEADERS else small
            content = mutated(rng.choice(seeds), rng)
            overwrite(path, content)
            tracemalloc.reset_peak()
            before, began = tracemalloc.get_traced_memory()[0], time.process_time()
            try:
                answers[inspect(path).kind] += 1
            except FileError:
                answers["refused"] += 1
            except Exception:
                Path(f"fuzz-find-{options.seed}-{i}").write_bytes(content)
                raise
            seconds = time.process_time() - began
            taken = tracemalloc.get_traced_memory()[1] - before
            slowest, spent = max(slowest, seconds), spent + seconds
            largest = max(largest, (taken - BASE_BYTES) / max(1, len(content)))
            if seconds > MOST_SECONDS or taken > MOST_TIMES_THE_FILE * len(content) + BASE_BYTES:
                Path(f"fuzz-find-{options.seed}-{i}").write_bytes(content)
                raise AssertionError(f"file {i}: {seconds:.2f} s, {taken} bytes for {len(content)}")
    return {
        "files": answers.total(),
        "slowest_cpu_seconds": round(slowest, 3),
        "most_bytes_beyond_1_MiB_per_byte_of_file": round(largest, 2),
        "cpu_seconds": round(spent, 1),
        "answers": dict(answers.most_common()),
    }


if __name__ == "__main__":
    print(json.dumps(fuzz(tyro.cli(Options))))
