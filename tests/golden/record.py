"""Record the frames and latents of the golden requests as hashes, and compare two checkouts by them.

Hashes depend on the processor and on the build of torch, so before and after are recorded on one
machine, with the tree under test on PYTHONPATH:

    PYTHONPATH=/path/to/before/src python tests/golden/record.py --output before.json
    PYTHONPATH=src python tests/golden/record.py --compare before.json
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])

import numpy as np
import torch
from tests.golden.golden_requests import golden_requests, write_files

from animatediff.model.fast.linear_library import choices_here, take_over
from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animation, Animator
from animatediff.sampling.request import AnimationRequest

Table = dict[str, dict[str, str]]
"""Hashes by the name of the request, of the frames and of the latents; and the machine."""


def recorded(requests: dict[str, AnimationRequest]) -> Table:
    """The hashes of the frames and of the latents of each request, computed on one thread.

    Linear layers are computed by oneDNN, as what a busy machine measures to be faster may change. As in
    the tests, no paths for special instructions of the processor are taken.
    """
    threads, before = torch.get_num_threads(), choices_here()
    torch.set_num_threads(1)
    take_over(dict.fromkeys(before, "onednn"))
    found: Table = {"frames": {}, "latents": {}}
    try:
        with mock.patch.object(torch.cpu, "get_capabilities", dict):
            drawn = list(animated(requests))
        for name, animation in drawn:
            found["frames"][name] = hash_of(animation.video.frames)
            found["latents"][name] = hash_of(animation.latents.numpy())
    finally:
        take_over(before)
        torch.set_num_threads(threads)
    return found


def animated(requests: dict[str, AnimationRequest]) -> Iterator[tuple[str, Animation]]:
    """The animation of each request; an animator is kept for as long as the requests fit it."""
    loaded, animator = None, None
    for name, request in requests.items():
        needed = (
            request.model,
            request.motion,
            request.adapter,
            request.motion_loras,
            request.family,
            request.numerics,
            request.precision,
        )
        if animator is None or needed != loaded:
            runtime = Runtime(device="cpu", precision=request.precision)
            animator, loaded = Animator.for_request(request, runtime=runtime), needed
        yield name, animator.animate(request)


def hash_of(numbers: np.ndarray) -> str:
    """SHA-256 of the bytes of an array."""
    return hashlib.sha256(numbers.tobytes()).hexdigest()


def machine() -> dict[str, str]:
    """What the bytes depend on besides the code."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": named[0] if named else platform.processor(),
        "capability": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
    }


def main() -> int:
    """Write the hashes, or say which of them differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, help="write the hashes to this file")
    parser.add_argument("--compare", type=Path, help="compare with the hashes in this file")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {"machine": machine(), **recorded(golden_requests(write_files(Path(folder))))}
    if options.output is not None:
        options.output.write_text(json.dumps(found, indent=2) + "\n")
    if options.compare is None:
        return 0
    before = json.loads(options.compare.read_text())
    if before["machine"] != found["machine"]:
        print(f"These are hashes of another machine: {before['machine']}, not {found['machine']}.")
        return 2
    lines = [line for kind in ("latents", "frames") for line in differences(before, found, kind)]
    print("\n".join(lines))
    return 1 if any(line.startswith("frames differ") for line in lines) else 0


def differences(before: Table, after: Table, kind: str) -> list[str]:
    """How many requests agree, and a line for each that does not."""
    names = before[kind].keys() | after[kind].keys()
    other = sorted(name for name in names if before[kind].get(name) != after[kind].get(name))
    same = f"{len(names) - len(other)} of {len(names)} requests have the same {kind}."
    return [same, *(f"{kind} differ: {name}" for name in other)]


if __name__ == "__main__":
    sys.exit(main())
