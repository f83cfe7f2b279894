"""Time and memory of a training step of motion modules at the size of Stable Diffusion 1.5.

The same step (forward and backward pass of one clip, the image model frozen, no optimiser) in several
ways: ``ours``, as ``animatediff train motion`` does it; ``plain``, the same model without its fast
paths; ``checkpointed``, ours with ``--checkpointing``; and ``diffusers``, its ``UNetMotionModel`` after
``freeze_unet2d_params``. All have the same weights (``models.py``). Each step runs in a fresh process;
``measure.py`` interleaves them, compares outputs and gradients, and writes the report.

    python benchmarks/training_step.py --size 256 --frames 8 --rounds 2
    python benchmarks/training_step.py --size 256 --frames 8 --activations

    python benchmarks/training_step.py --size 256 --frames 8 --rounds 2 --profile

The first measures wall-clock and processor seconds and the peak memory that the operating system
counts. The second computes nothing: it adds up the activations that each way keeps for the backward
pass, which depend only on shapes. The third also says where the time of the first goes: image layers,
motion modules and text, forward and backward, and an optimiser's step, which the other numbers do not
include.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, Report, Sample, ceilings, interleaved
from models import DTYPES, fill, our_name, predict
from models import make as make_model
from safetensors.torch import load_file, save_file
from step_parts import Parts, Seconds, optimiser_seconds, table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from animatediff.model import AnimatedUNet
from animatediff.model.fast.choice import choose_fast_paths

WAYS = ("ours", "plain", "diffusers", "checkpointed")
STRIDE = 17
"""Every 17th element of each gradient is compared."""


def make(way: str, *, width: float) -> nn.Module:
    """The model of one way, without storage."""
    return make_model("diffusers" if way == "diffusers" else "ours", width=width)


def prepare(model: nn.Module, way: str) -> None:
    """Set up the fast paths of a way, once the model has storage."""
    if not isinstance(model, AnimatedUNet):
        return
    if way == "ours":
        choose_fast_paths(model.unet, animated=model, learns=True, spares_memory=True)
    if way == "checkpointed":
        choose_fast_paths(model.unet, animated=model, learns=True)
        model.set_gradient_checkpointing(True)


class Kept:
    """A tensor that the backward pass needs."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def storage_of(tensor: Tensor) -> int:
    """Identify the memory that a tensor views; fake tensors have no address."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


@contextmanager
def counted(model: nn.Module) -> Generator[Callable[[], int]]:
    """Yield a function that counts the bytes of activations kept for the backward pass."""
    alive: weakref.WeakSet[Kept] = weakref.WeakSet()
    weights = {storage_of(p) for p in model.parameters()}

    def pack(tensor: Tensor) -> Kept:
        kept = Kept(tensor)
        alive.add(kept)
        return kept

    def total() -> int:
        sizes = {storage_of(k.tensor): k.tensor.untyped_storage().nbytes() for k in alive}
        return sum(n for storage, n in sizes.items() if storage not in weights)

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.tensor):
        yield total


def activations(way: str, *, size: int, frames: int, width: float, dtype: torch.dtype) -> int:
    """Bytes of activations kept for the backward pass, found without computing anything."""
    model = make(way, width=width)
    with FakeTensorMode():
        for layer in model.modules():
            for name, old in list(layer.named_parameters(recurse=False)):
                new = torch.empty(old.shape, dtype=dtype)
                setattr(layer, name, nn.Parameter(new, requires_grad=old.requires_grad))
            for name, table in list(layer.named_buffers(recurse=False)):
                setattr(layer, name, torch.empty(table.shape, dtype=dtype))
        prepare(model, way)
        latents = torch.randn(1, 4, frames, size // 8, size // 8, dtype=dtype)
        text = torch.randn(1, 77, 768, dtype=dtype)
        with counted(model) as total:
            if isinstance(model, AnimatedUNet):
                output = model(latents, torch.tensor([500]), text)
            else:
                texts = text.repeat_interleave(frames, dim=0)
                output = model(latents, torch.tensor([500]), texts, return_dict=False)[0]
        kept = total()
        del output
    return kept


def step(way: str, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run one step in this process, and write its output and gradients into ``folder``."""
    dtype = DTYPES[options.precision]
    model = make(way, width=options.width)
    fill(model, dtype)
    prepare(model, way)
    forward = predict(model, size=options.size, frames=options.frames, dtype=dtype)
    built = peak_gib()
    parts = Parts(model) if options.profile else None
    clock = [(time.perf_counter(), time.process_time())]
    output = forward()
    clock.append((time.perf_counter(), time.process_time()))
    if parts is not None:
        parts.backward()
    output.float().square().mean().backward()
    clock.append((time.perf_counter(), time.process_time()))
    (wall_0, cpu_0), (_, cpu_1), (wall_2, cpu_2) = clock
    numbers = {
        "wall_s": round(wall_2 - wall_0, 2),
        "cpu_s": round(cpu_2 - cpu_0, 2),
        "forward_cpu_s": round(cpu_1 - cpu_0, 2),
        "backward_cpu_s": round(cpu_2 - cpu_1, 2),
        "built_gib": round(built, 2),
        "peak_gib": round(peak_gib(), 2),
    }
    profile: dict[str, float] = {}
    if parts is not None:
        profile.update(parts.seconds(cpu_0, cpu_1, cpu_2))
        parts.remove()
    learned = {our_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    gradients = {n: p.grad.flatten()[::STRIDE] for n, p in learned.items() if p.grad is not None}
    assert len(gradients) == len(learned)
    found = {"output": output.detach(), **gradients}
    save_file({n: t.float().contiguous() for n, t in found.items()}, folder / f"{way}.safetensors")
    if parts is not None:
        profile["optimiser"] = optimiser_seconds(model)
    return {"numbers": numbers, "profile": profile}


def peak_gib() -> float:
    """The peak memory of this process, as the operating system counts it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def in_a_process(
    way: str, arguments: list[str], folder: Path, profiles: dict[str, list[Seconds]]
) -> Sample:
    """One step in a fresh process; what its parts took is added to ``profiles``."""
    # Threads that wait must not count as work.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    command = [sys.executable, __file__, *arguments, "--one", way, "--folder", str(folder)]
    run = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    found = json.loads(run.stdout.splitlines()[-1])
    profiles.setdefault(way, []).append(found["profile"])
    gradients = load_file(folder / f"{way}.safetensors")
    output = {"output": gradients.pop("output")}
    return Sample(found["numbers"], {"output": output, "gradients": gradients})


def measure(options: argparse.Namespace, arguments: list[str]) -> Report:
    """The ways in turn, each step in a process of its own."""
    dtype = DTYPES[options.precision]
    profiles: dict[str, list[Seconds]] = {}
    with tempfile.TemporaryDirectory() as folder:
        measured = interleaved(
            {
                way: lambda way=way: in_a_process(way, arguments, Path(folder), profiles)
                for way in options.ways
            },
            rounds=options.rounds,
            ceilings=lambda: ceilings(dtype),
            on_run=lambda number, way, sample: print(
                json.dumps({"round": number + 1, "way": way, **sample.numbers}), flush=True
            ),
        )
    return Report(
        name="training-step",
        title="A training step of motion modules",
        setting=(
            f"Forward and backward pass of one clip of {options.frames} frames at {options.size} px, "
            f"{options.precision}, {options.width:g} times Stable Diffusion 1.5's channels, random "
            "weights, no optimiser, each step in a fresh process."
        ),
        measured=measured,
        baseline="diffusers" if "diffusers" in options.ways else options.ways[-1],
        more=tuple(table(profiles)) if options.profile else (),
    )


def main() -> None:
    """Measure, write the report, and print where it is; or count activations."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0, help="of Stable Diffusion's channels")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["ours", "diffusers"])
    parser.add_argument(
        "--activations", action="store_true", help="only count activations; compute nothing"
    )
    parser.add_argument("--profile", action="store_true", help="also where the time goes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(step(options.one, options, options.folder)))
    elif options.activations:
        for way in WAYS:
            kept = activations(
                way,
                size=options.size,
                frames=options.frames,
                width=options.width,
                dtype=DTYPES[options.precision],
            )
            print(f"{way}: {kept / 2**20:.0f} MiB kept for the backward pass", flush=True)
    else:
        print(measure(options, sys.argv[1:]).write(options.out))


if __name__ == "__main__":
    main()
