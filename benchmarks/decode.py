"""Decoding latents into pictures, ours and diffusers', by Stable Diffusion 1.5's autoencoder.

Weights are random. Each way runs in a fresh process, so that its peak memory counts; ``measure.py``
interleaves them, compares the pictures and writes the report.

    python benchmarks/decode.py --size 256 --frames 8 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from measure import RESULTS, Report, Sample, ceilings, interleaved
from safetensors.torch import load_file, save_file

from animatediff.apps.heap import keep_freed_memory
from animatediff.runtime import channels_last, seeded
from animatediff.sampling.steps.decode import decode

WAYS = ("ours", "diffusers")
CHANNELS = (128, 256, 512, 512)


def autoencoder() -> AutoencoderKL:
    """Stable Diffusion 1.5's autoencoder with random weights."""
    kinds = len(CHANNELS)
    with torch.device("meta"):
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * kinds,
            up_block_types=("UpDecoderBlock2D",) * kinds,
            block_out_channels=CHANNELS,
            layers_per_block=2,
        )
    vae.to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in vae.named_parameters():
            if parameter.ndim > 1:
                std = parameter[0].numel() ** -0.5
                parameter.normal_(std=std, generator=seeded("weight", name))
            else:
                parameter.fill_(float("norm" in name and name.endswith("weight")))
    return vae.eval().requires_grad_(False)


@torch.inference_mode()
def one(way: str, options: argparse.Namespace, path: Path) -> dict[str, Any]:
    """Decode once in this process, and write the pictures to ``path``."""
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    vae = autoencoder()
    if way == "ours":
        channels_last(vae)
    side = options.size // 8
    latents = torch.randn(1, 4, options.frames, side, side, generator=seeded("latents"))
    built = _peak_gib()
    wall, cpu = time.perf_counter(), time.process_time()
    if way == "ours":
        pictures = torch.from_numpy(decode(latents, vae=vae))
    else:
        scaled = latents[0].transpose(0, 1) / vae.config["scaling_factor"]
        decoded = vae.decode(scaled, return_dict=False)[0]
        pictures = ((decoded / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    save_file({"pictures": pictures.contiguous()}, path)
    return {
        "wall_s": round(wall, 3),
        "cpu_s": round(cpu, 3),
        "grown_gib": round(_peak_gib() - built, 3),
    }


def _peak_gib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def in_a_process(way: str, folder: Path) -> Sample:
    """Decode once in a fresh process."""
    path = folder / f"{way}.safetensors"
    command = [sys.executable, __file__, *sys.argv[1:], "--one", way, "--folder", str(folder)]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Sample(json.loads(run.stdout.splitlines()[-1]), {"pictures": load_file(path)})


def main() -> None:
    """Measure, write the report, and print where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        path = options.folder / f"{options.one}.safetensors"
        print(json.dumps(one(options.one, options, path)))
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = interleaved(
            {way: lambda way=way: in_a_process(way, Path(folder)) for way in WAYS},
            rounds=options.rounds,
            ceilings=lambda: ceilings(torch.float32),
            on_run=lambda number, way, sample: print(
                number + 1, way, dict(sample.numbers), file=sys.stderr, flush=True
            ),
        )
    report = Report(
        name="decode",
        title="Decoding latents into pictures",
        setting=(
            f"{options.frames} frames at {options.size} px, fp32, Stable Diffusion 1.5's "
            "autoencoder with random weights, each run in a fresh process. Differences are in levels "
            "of 255. `grown_gib` is how much the peak memory grew while decoding."
        ),
        measured=measured,
        baseline="diffusers",
    )
    print(report.write(options.out))


if __name__ == "__main__":
    main()
