"""Time and memory of a training step of motion modules at the size of Stable Diffusion 1.5.

The same step (forward and backward of one clip, the image part frozen, no optimiser) in three ways:
``ours``, as ``animatediff train motion`` does it; ``plain``, the same model without its fast paths; and
``diffusers``, its ``UNetMotionModel`` after ``freeze_unet2d_params``. All have the same random weights
and the norm of the motion modules over the clip, as diffusers computes it, so outputs and gradients are
compared every time. Each step runs in a fresh process, the ways in turn.

    python benchmarks/training_step.py --size 256 --frames 8 --rounds 2
    python benchmarks/training_step.py --size 256 --frames 8 --activations

The first measures: wall-clock and processor seconds, and the peak of memory as the operating system
counts it. The second runs no arithmetic: it adds up what every way keeps between forward and backward,
which depends on shapes alone.
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
from statistics import median
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from animatediff.model import AnimatedUNet
from animatediff.model.motion_module import frame_positions
from animatediff.runtime import seeded
from animatediff.training.steps.light_step import LightStep
from animatediff.weights.names.layouts import motion_name

CONFIG = Path(__file__).parents[1] / "tests" / "model" / "configs" / "sd15_unet.json"
WAYS = ("ours", "plain", "diffusers", "checkpointed")
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
STRIDE = 17
"""Of a gradient, each so many-th number is compared."""


def make(way: str, *, width: float) -> nn.Module:
    """The model without storage, frozen but for its motion modules."""
    config: dict[str, Any] = json.loads(CONFIG.read_text())
    channels = tuple(int(c * width) for c in config["block_out_channels"])
    with torch.device("meta"):
        if way == "diffusers":
            model = UNetMotionModel(
                block_out_channels=channels,
                cross_attention_dim=config["cross_attention_dim"],
                num_attention_heads=config["attention_head_dim"],
                use_motion_mid_block=False,
            )
            model.freeze_unet2d_params()
            return model
        config["block_out_channels"] = channels
        unet = UNet2DConditionModel(**config)
        return AnimatedUNet(unet.requires_grad_(False), norm_scope="video", device="meta")


def prepare(model: nn.Module, way: str) -> None:
    """The fast paths of each way, once the model has storage."""
    if not isinstance(model, AnimatedUNet):
        return
    if way == "ours":
        LightStep(model.unet, animated=model)
    if way == "checkpointed":
        LightStep(model.unet, animated=model, recompute=False)
        model.set_gradient_checkpointing(True)


def fill(model: nn.Module, dtype: torch.dtype) -> None:
    """Storage, and weights that depend on their names alone."""
    model.to_empty(device="cpu").to(dtype)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            ours = our_name(name)
            if parameter.ndim > 1:
                std = parameter[0].numel() ** -0.5
                parameter.normal_(std=std, generator=seeded("weight", ours))
            else:
                parameter.fill_(float("norm" in ours and ours.endswith("weight")))
        for name, table in model.named_buffers():
            assert name.endswith(".pe"), name
            table.copy_(frame_positions(table.shape[1], table.shape[2])[None])


def our_name(name: str) -> str:
    """``unet.`` and ``motion.`` before what diffusers has in one model."""
    known = None if name.startswith("unet.") else motion_name(name.removeprefix("motion."))
    if known is not None:
        return f"motion.{known.ours}"
    return f"unet.{name.removeprefix('unet.')}"


def predict(
    model: nn.Module, *, size: int, frames: int, dtype: torch.dtype
) -> Callable[[], Tensor]:
    """One clip of random latents through the model."""
    latents = torch.randn(1, 4, frames, size // 8, size // 8, generator=seeded("latents")).to(dtype)
    text = torch.randn(1, 77, 768, generator=seeded("text")).to(dtype)
    timestep = torch.tensor([500])
    if isinstance(model, AnimatedUNet):
        return lambda: model(latents, timestep, text)
    texts = text.repeat_interleave(frames, dim=0)
    return lambda: model(latents, timestep, texts, return_dict=False)[0]


class Kept:
    """A tensor that the way back will ask for."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def storage_of(tensor: Tensor) -> int:
    """Which memory it is a view of; fake tensors have no address."""
    return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]


@contextmanager
def counted(model: nn.Module) -> Generator[Callable[[], int]]:
    """Tells how many bytes of activations are kept for the way back."""
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
    """Bytes kept between forward and backward, found without computing anything."""
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
    """One step in this process; its output and gradients are left in ``folder``."""
    dtype = DTYPES[options.precision]
    model = make(way, width=options.width)
    fill(model, dtype)
    prepare(model, way)
    forward = predict(model, size=options.size, frames=options.frames, dtype=dtype)
    built = peak_gib()
    clock = [(time.perf_counter(), time.process_time())]
    output = forward()
    clock.append((time.perf_counter(), time.process_time()))
    output.float().square().mean().backward()
    clock.append((time.perf_counter(), time.process_time()))
    learned = {our_name(n): p for n, p in model.named_parameters() if p.requires_grad}
    gradients = {n: p.grad.flatten()[::STRIDE] for n, p in learned.items() if p.grad is not None}
    assert len(gradients) == len(learned)
    found = {"output": output.detach(), **gradients}
    save_file({n: t.float().contiguous() for n, t in found.items()}, folder / f"{way}.safetensors")
    (wall_0, cpu_0), (_, cpu_1), (wall_2, cpu_2) = clock
    return {
        "way": way,
        "wall_s": round(wall_2 - wall_0, 2),
        "cpu_s": round(cpu_2 - cpu_0, 2),
        "forward_cpu_s": round(cpu_1 - cpu_0, 2),
        "backward_cpu_s": round(cpu_2 - cpu_1, 2),
        "built_gib": round(built, 2),
        "peak_gib": round(peak_gib(), 2),
    }


def peak_gib() -> float:
    """The most memory this process ever held, as the operating system counts it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def difference(one: Path, other: Path) -> tuple[float, float]:
    """Between two steps, relative: of the output, and of all gradients together."""
    ours, theirs = load_file(one), load_file(other)
    assert ours.keys() == theirs.keys()
    output = (ours.pop("output") - theirs["output"]).norm() / theirs.pop("output").norm()
    off = sum(float((ours[n] - theirs[n]).double().square().sum()) for n in ours)
    return float(output), (
        off / sum(float(g.double().square().sum()) for g in theirs.values())
    ) ** 0.5


def measure(options: argparse.Namespace, arguments: list[str]) -> None:
    """The ways in turn, each in a process of its own."""
    # Threads that wait must not count as work.
    environment = os.environ | {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
    results: dict[str, list[dict[str, Any]]] = {way: [] for way in options.ways}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for way in options.ways[:: 1 if number % 2 == 0 else -1]:
                command = [sys.executable, __file__, *arguments, "--one", way, "--folder", folder]
                run = subprocess.run(
                    command, env=environment, check=True, stdout=subprocess.PIPE, text=True
                )
                results[way].append(json.loads(run.stdout.splitlines()[-1]))
                print(json.dumps({"round": number, **results[way][-1]}), flush=True)
            for way in options.ways[1:]:
                files = [Path(folder) / f"{w}.safetensors" for w in (options.ways[0], way)]
                output, gradient = difference(*files)
                print(
                    f"{options.ways[0]} against {way}, relative difference: output {output:.1e}, "
                    f"gradients {gradient:.1e}",
                    flush=True,
                )
    report(results)


def report(results: dict[str, list[dict[str, Any]]]) -> None:
    """Medians, and their ratios to the last way's, paired by round."""
    *_, base = results
    for way, runs in results.items():
        ratios = {
            key: median(a[key] / b[key] for a, b in zip(runs, results[base], strict=True))
            for key in ("cpu_s", "wall_s", "peak_gib")
        }
        medians = {key: round(median(run[key] for run in runs), 2) for key in ratios}
        print(f"{way}: {medians}; to {base}: { {k: round(r, 3) for k, r in ratios.items()} }")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--width", type=float, default=1.0, help="of Stable Diffusion's channels")
    parser.add_argument("--precision", choices=DTYPES, default="fp32")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["ours", "diffusers"])
    parser.add_argument(
        "--activations", action="store_true", help="only what is kept; no arithmetic"
    )
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
            print(f"{way}: {kept / 2**20:.0f} MiB kept for the way back", flush=True)
    else:
        measure(options, sys.argv[1:])


if __name__ == "__main__":
    main()
