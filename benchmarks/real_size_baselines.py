"""Memory of the baselines and the metrics at the size of Stable Diffusion 1.5, on a CPU.

Weights are random and in fp32, so nothing is downloaded. Prints one line of JSON with the peak memory.

    python benchmarks/real_size_baselines.py text2video-zero --size 512 --frames 8
    python benchmarks/real_size_baselines.py tune-a-video --size 512 --frames 8
    python benchmarks/real_size_baselines.py metrics --size 512 --frames 8
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from real_size import CONFIG, peak_gib, random_weights

from animatediff.evaluation.baselines.text2video_zero import ZeroOptions, text2video_zero
from animatediff.evaluation.baselines.tune_a_video import TRAINING, InflatedUNet, edit, invert, tune
from animatediff.evaluation.clip_marks import Metrics
from animatediff.evaluation.judges.clip import ClipJudge
from animatediff.evaluation.judges.dino import Dino
from animatediff.evaluation.judges.raft import Raft
from animatediff.evaluation.judges.raft_network import RaftNetwork
from animatediff.weights.storage.files import write_weights

NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def image_unet() -> UNet2DConditionModel:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**json.loads(CONFIG.read_text()))
    random_weights(unet)
    return unet.eval().requires_grad_(False)


def measure_text2video_zero(*, side: int, frames: int) -> dict[str, Any]:
    """One step down to t0, one up to t1, and the steps of all frames together: three in all."""
    latents = text2video_zero(
        image_unet(),
        states=torch.randn(2, 77, 768, generator=torch.Generator().manual_seed(1)),
        scheduler_config=NOISE,
        num_frames=frames,
        size=(side, side),
        seed=0,
        options=ZeroOptions(steps=3, t0=0, t1=1),
    )
    return {"finite": bool(latents.isfinite().all()), "shape": list(latents.shape)}


def measure_tune_a_video(*, side: int, frames: int) -> dict[str, Any]:
    """One training step, one of the inversion, one of drawing."""
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(1, 4, frames, side, side, generator=generator)
    states = torch.randn(2, 77, 768, generator=generator)
    inflated = InflatedUNet(image_unet())
    with tempfile.TemporaryDirectory() as folder:
        tune(
            inflated,
            latents,
            states=states[:1],
            scheduler_config=NOISE,
            folder=Path(folder),
            options=replace(TRAINING, steps=1),
        )
    noise = invert(inflated, latents, empty=states[:1], scheduler_config=NOISE, steps=1)
    drawn = edit(inflated, noise, states=states, scheduler_config=NOISE, steps=1)
    learned = sum(weights.numel() for weights in inflated.learns.parameters())
    return {"finite": bool(drawn.isfinite().all()), "learned_parameters": learned}


def measure_metrics(*, side: int, frames: int) -> dict[str, Any]:
    """All metrics with CLIP ViT-L/14, DINO ViT-S/16 and RAFT."""
    from transformers import CLIPConfig, CLIPModel, ViTConfig, ViTModel

    vision = {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
        "image_size": 224,
    }
    text = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    small = {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 12,
        "num_attention_heads": 6,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=768)
        CLIPModel(config).save_pretrained(folder / "clip")
        ViTModel(ViTConfig(**small), add_pooling_layer=False).save_pretrained(folder / "dino")
        write_weights(folder / "raft.safetensors", RaftNetwork().state_dict(), metadata={})
        metrics = Metrics(
            [ClipJudge(folder / "clip")],
            dino=Dino(folder / "dino"),
            flow=Raft(folder / "raft.safetensors"),
        )
        clip = np.random.default_rng(0).integers(0, 255, (frames, 8 * side, 8 * side, 3))
        clip = clip.astype(np.uint8)
        references = metrics.references(clip[:2])
        marks = metrics.measure(clip, prompt="a fox", fps=8, references=references)
    likeness = next(iter(marks.likeness.values()))
    return {"finite": bool(np.isfinite([likeness.text, likeness.smooth, marks.warp]).all())}


MEASURES = {
    "text2video-zero": measure_text2video_zero,
    "tune-a-video": measure_tune_a_video,
    "metrics": measure_metrics,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("what", choices=MEASURES)
    parser.add_argument("--size", type=int, default=512, help="pixels of a side")
    parser.add_argument("--frames", type=int, default=8)
    options = parser.parse_args()
    started = time.perf_counter()
    result = MEASURES[options.what](side=options.size // 8, frames=options.frames)
    facts = {"what": options.what, "size": options.size, "frames": options.frames}
    seconds = round(time.perf_counter() - started, 1)
    print(json.dumps({**facts, **result, "seconds": seconds, "peak_gib": round(peak_gib(), 2)}))


if __name__ == "__main__":
    main()
