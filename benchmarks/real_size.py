"""Memory and time of Stable Diffusion 1.5 with its motion modules on a CPU.

Weights are random and in fp32 (5.1 GB). Memory does not depend on their values, so nothing is
downloaded. Prints one line of JSON.

    python benchmarks/real_size.py --size 256 --frames 8 --steps 2
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from measure import timed
from torch import Tensor, nn

from animatediff.model import AnimatedUNet

CONFIG = Path(__file__).parents[1] / "tests" / "model" / "configs" / "sd15_unet.json"


def random_weights(model: nn.Module) -> nn.Module:
    """Give a model storage and random weights in place, without a second copy."""
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            std = parameter[0].numel() ** -0.5
            parameter.data.normal_(std=std, generator=generator)
        else:
            parameter.data.fill_(float("norm" in name and name.endswith("weight")))
    return model


def animated_unet(config: Mapping[str, Any]) -> AnimatedUNet:
    """The image U-Net with its 20 motion modules, frozen, with no weight zero."""
    with torch.device("meta"):
        model = AnimatedUNet(UNet2DConditionModel(**config))
    return random_weights(model).eval().requires_grad_(False)


@torch.inference_mode()
def measure(*, size: int, frames: int, steps: int, guidance: bool) -> dict[str, Any]:
    """Denoise one clip of random latents; memory in GiB, time in seconds."""
    started = time.perf_counter()
    model = animated_unet(json.loads(CONFIG.read_text()))
    built = time.perf_counter()
    weights_gib = peak_gib()
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="linear", clip_sample=False
    )
    scheduler.set_timesteps(steps)
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, frames, size // 8, size // 8, generator=generator)
    text = torch.randn(1, 77, 768, generator=generator)

    def stepped(latents: Tensor, timestep: Tensor) -> Tensor:
        noise = model(latents, timestep, text)
        if guidance:  # one half after the other: half the memory of one batch of two
            noise = torch.lerp(model(latents, timestep, torch.zeros_like(text)), noise, 7.5)
        return scheduler.step(noise, timestep, latents).prev_sample

    times: list[float] = []
    for timestep in scheduler.timesteps:
        sample = timed(partial(stepped, latents, timestep))
        times.append(sample.numbers["wall_s"])
        latents = sample.outputs["output"]["output"]
    return {
        "image_parameters": sum(p.numel() for p in model.unet.parameters()),
        "motion_parameters": sum(p.numel() for p in model.motion.parameters()),
        "size": size,
        "frames": frames,
        "steps": steps,
        "guidance": guidance,
        "precision": "fp32",
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "finite": bool(latents.isfinite().all()),
        "build_s": round(built - started, 1),
        "step_s": [round(t, 1) for t in times],
        "built_gib": round(weights_gib, 2),
        "peak_gib": round(peak_gib(), 2),
    }


def peak_gib() -> float:
    """The peak memory of this process, as the operating system counts it."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**30 if sys.platform == "darwin" else 2**20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--guidance", action="store_true", help="two passes a step")
    options = parser.parse_args()
    print(
        json.dumps(
            measure(
                size=options.size,
                frames=options.frames,
                steps=options.steps,
                guidance=options.guidance,
            )
        )
    )


if __name__ == "__main__":
    main()
