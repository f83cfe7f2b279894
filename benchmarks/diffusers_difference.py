"""How far the faithful numerics of every version are from diffusers', in pixels of 0 to 255.

diffusers takes a motion module's statistics over all frames whatever its version; of the published
ones only SDXL beta was trained so (and version 1 and Hotshot-XL also differ in the ResNets). To
see what that does to pictures, trained numbers are needed: the built-in image model and motion
module stand in for each version, which decides the scopes of the norms. What is compared are
animations of the same prompts from the same noise, by DDIM:

- ``faithful``: this package with the version's own scopes;
- ``diffusers``: diffusers' own AnimateDiffPipeline, its motion adapter made by ``animatediff
  convert``; that the ``--numerics diffusers`` of this package equals it is checked along the way.

    python benchmarks/diffusers_difference.py --seeds 1
"""

from __future__ import annotations

import argparse
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import diffusers
import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from jaxtyping import UInt8

from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.weights.convert import convert
from animatediff.weights.families import FAMILIES, Numerics
from animatediff.weights.finding.builtin import BUILTIN
from animatediff.weights.storage.files import sha256_of

PROMPTS = ("a running person", "a red apple", "a beating heart", "a laughing face")
Frames = UInt8[np.ndarray, "f h w 3"]


@dataclass(frozen=True)
class Difference:
    """Between two animations, over all pixels of all frames."""

    mean: float
    largest: int
    over_8: float

    @classmethod
    def between(cls, ours: list[Frames], theirs: list[Frames]) -> Difference:
        """Mean and largest of the absolute differences, and the share of those above 8."""
        pairs = zip(ours, theirs, strict=True)
        off = np.concatenate([np.abs(a.astype(int) - b.astype(int)).ravel() for a, b in pairs])
        return cls(float(off.mean()), int(off.max()), float((off > 8).mean()))

    def __str__(self) -> str:
        return f"{self.mean:6.2f} | {self.largest:3d} | {self.over_8:6.1%}"


def requests(folder: Path, *, steps: int, seeds: int, frames: int) -> Iterator[AnimationRequest]:
    """The same for every version, of a copy of the built-in weights that stays as it is."""
    shutil.copytree(BUILTIN / "emoji", folder / "emoji")
    shutil.copyfile(BUILTIN / "motion" / "emoji.safetensors", folder / "motion.safetensors")
    for prompt in PROMPTS:
        for seed in range(seeds):
            yield AnimationRequest(
                prompt=prompt,
                model=str(folder / "emoji"),
                motion=str(folder / "motion.safetensors"),
                seed=seed,
                steps=steps,
                scheduler="ddim",
                num_frames=frames,
                guidance=3.0,
            )


def of_package(asked: list[AnimationRequest], *, family: str, numerics: Numerics) -> list[Frames]:
    """This package's animations, the built-in module taken for one of ``family``."""
    animator = Animator.load(
        asked[0].model,
        motion=asked[0].motion,
        family=family,
        numerics=numerics,
        runtime=Runtime(device="cpu", precision="fp32"),
    )
    made = [replace(request, family=family, numerics=numerics) for request in asked]
    return [animator.animate(request).video.frames for request in made]


@torch.inference_mode()
def of_diffusers(asked: list[AnimationRequest]) -> list[Frames]:
    """diffusers' animations of the same requests, from the same noise and text."""
    model, motion = Path(asked[0].model), Path(asked[0].motion)
    runtime = Runtime(device="cpu", precision="fp32")
    base = Animator.load(str(model), motion="none", runtime=runtime).base
    with tempfile.TemporaryDirectory() as folder:
        written = convert(motion, Path(folder) / "adapter", layout="diffusers").path
        adapter = MotionAdapter.from_pretrained(written, torch_dtype=torch.float32)
    pipeline = AnimateDiffPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        tokenizer=base.tokenizer,
        unet=UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32),
        motion_adapter=adapter,
        scheduler=DDIMScheduler.from_pretrained(model / "scheduler"),
    )
    pipeline.set_progress_bar_config(disable=True)
    side = base.unet.config["sample_size"]
    animations: list[Frames] = []
    for request in asked:
        prompt, negative = encode_prompts([request.prompt, ""], base=base)
        latents = pipeline(
            prompt_embeds=prompt.states,
            negative_prompt_embeds=negative.states,
            num_frames=request.num_frames,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance,
            height=side * base.pixels_per_latent,
            width=side * base.pixels_per_latent,
            latents=initial_noise(
                request.seed,
                num_frames=request.num_frames,
                channels=base.unet.config["in_channels"],
                height=side,
                width=side,
            ),
            output_type="latent",
        ).frames
        animations.append(decode(latents, vae=base.vae))
    return animations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--frames", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = requests(
            Path(folder), steps=options.steps, seeds=options.seeds, frames=options.frames
        )
        measure(list(asked))


def measure(asked: list[AnimationRequest]) -> None:
    theirs = of_diffusers(asked)
    preset = of_package(asked, family="v3", numerics="diffusers")
    print(
        f"{len(asked)} animations of {asked[0].num_frames} frames, {asked[0].steps} steps of DDIM, "
        f"guidance 3, fp32 on a CPU ({platform.machine()}); torch {torch.__version__}, "
        f"diffusers {diffusers.__version__}; motion module {sha256_of(Path(asked[0].motion))[:12]}\n"
    )
    print(f"--numerics diffusers against diffusers: {Difference.between(preset, theirs)}\n")
    print("| version | ResNet norms | motion norm | mean | largest | over 8 |")
    print("| --- | --- | --- | --- | --- | --- |")
    # SDXL beta was trained in diffusers' scopes, and Hotshot-XL in version 1's.
    measured = {("frame", "video"): Difference.between(preset, theirs)}
    for name, family in FAMILIES.items():
        if name == "emoji" or family.refusal:
            continue
        scopes = (str(family.resnet_norm_scope), str(family.motion_norm_scope))
        if scopes not in measured:
            faithful = of_package(asked, family=name, numerics="faithful")
            measured[scopes] = Difference.between(faithful, theirs)
        print(f"| {name} | {scopes[0]} | {scopes[1]} | {measured[scopes]} |", flush=True)


if __name__ == "__main__":
    main()
