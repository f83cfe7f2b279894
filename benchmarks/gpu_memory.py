"""Memory of a GPU while an animation is drawn at Stable Diffusion 1.5's size, by how weights are kept.

One denoising step with guidance, then decoding, with random weights: all weights on the GPU
(``full``), a layer at a time (``low``, as ``--memory low``), and linear layers in 8 bits (``int8`` and
``fp8``, as ``--quantise``). Each runs in a fresh process, and ``measure.py`` writes the report. The
exit code is 1 if ``low`` needs more than ``--limit-gb``.

    python benchmarks/gpu_memory.py --size 512 --frames 16
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from decode import autoencoder
from measure import RESULTS, Report, Sample, interleaved, timed
from models import DTYPES, fill, make, predict
from torch import Tensor

from animatediff.model import AnimatedUNet
from animatediff.model.fast.drawing import draw_fast
from animatediff.model.offload import Offload, copies_to
from animatediff.model.quantised import quantise
from animatediff.runtime import Runtime, channels_last
from animatediff.sampling.steps.decode import decode

WAYS: Mapping[str, Runtime] = {
    "full": Runtime(),
    "low": Runtime(memory="low"),
    "int8": Runtime(quantise="int8"),
    "fp8": Runtime(quantise="fp8"),
}
MIB = 2**20


def one(way: str, options: argparse.Namespace) -> dict[str, float]:
    """Draw once in this process: seconds, and the memory that was taken at most."""
    kept, device = WAYS[way], torch.device(options.device)
    runtime = Runtime(
        device=options.device,
        precision=options.precision,
        memory=kept.memory,
        quantise=kept.quantise,
    )
    animated = make("ours", width=options.width)
    assert isinstance(animated, AnimatedUNet)
    fill(animated, DTYPES[options.precision])
    channels_last(animated.eval().requires_grad_(False).to(runtime.weights_device()))
    vae = autoencoder()
    torch.nn.Module.to(vae, runtime.weights_device())
    if runtime.quantise is not None:
        quantise(animated, runtime.quantise)
    step = predict(
        animated, size=options.size, frames=options.frames, dtype=DTYPES[options.precision],
        guidance=True, device=device,
    )  # fmt: skip
    drawing = draw_fast(animated, runtime)
    networks = (animated, vae) if runtime.memory == "low" else ()
    offload = Offload(networks, bring=copies_to(device))

    def drawn() -> Tensor:
        noise = step()
        decode(noise[:1].float(), vae=vae, runtime=runtime)
        return noise

    with torch.inference_mode():
        numbers = dict(timed(drawn).numbers)
    offload.remove()
    drawing.remove()
    scale = 1 if sys.platform == "darwin" else 1024
    numbers.setdefault("peak_mib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / MIB)
    return numbers


def measured(way: str, arguments: list[str]) -> Sample:
    """Draw once in a fresh process.

    Raises:
        subprocess.CalledProcessError: it failed, as where memory runs out.
    """
    run = subprocess.run(
        [sys.executable, __file__, *arguments, "--way", way],
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return Sample(json.loads(run.stdout.splitlines()[-1]))


def parser() -> argparse.ArgumentParser:
    """The options of this program."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--width", type=float, default=1.0, help="of Stable Diffusion's channels")
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="bf16")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--limit-gb", type=float, default=6.0, help="of low, in 10^9 bytes")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    return parser


def main() -> None:
    """Measure, write the report, print where it is, and compare with the limit."""
    options = parser().parse_args()
    if options.way:
        print(json.dumps(one(options.way, options)))
        return
    arguments = sys.argv[1:]
    found = interleaved(
        {way: lambda way=way: measured(way, arguments) for way in options.ways}, rounds=1
    )
    report = Report(
        name="gpu-memory",
        title="Memory of a GPU, by how weights are kept",
        setting=(
            f"A denoising step with guidance and decoding, {options.frames} frames at {options.size} "
            f"px, {options.precision}, {options.width:g} times Stable Diffusion 1.5's channels, random "
            "weights; peak_mib is what torch allocated at most (on a CPU, of the process)."
        ),
        measured=found,
        baseline=options.ways[0],
        device=options.device,
    )
    print(report.write(options.out))
    most = max((found.values("low", "peak_mib") if "low" in options.ways else []), default=0.0)
    if options.device == "cuda" and most * MIB > options.limit_gb * 1e9:
        sys.exit(f"--memory low took {most * MIB / 1e9:.2f} GB, more than {options.limit_gb:g} GB.")


if __name__ == "__main__":
    main()
