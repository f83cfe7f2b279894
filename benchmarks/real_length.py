"""Time and memory of a step on a long clip at the size of Stable Diffusion 1.5, windows in attention.

    python benchmarks/real_length.py --frames 16 64 16

Weights are random, in bf16. The lengths are predicted in turn in one process, with guidance; 16 frames
are one window. Peak memory is that of the process so far. Writes ``results/length/real.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from real_size import CONFIG, peak_gib, random_weights

from animatediff.model import AnimatedUNet
from animatediff.model.fast.drawing import Drawing, plan_drawing
from animatediff.runtime import Runtime, channels_last
from animatediff.sampling.ask import BOTH, Ask, Latents
from animatediff.sampling.predicting.views import views_in
from animatediff.sampling.windows.plan import WindowPlan

RESULT = Path("results/length/real.json")
WINDOW = 16


@torch.inference_mode()
def measure(lengths: list[int], *, size: int, overlap: int) -> list[dict[str, Any]]:
    """Processor seconds and peak memory of one step of each length."""
    with torch.device("meta"):
        unet = UNet2DConditionModel(**json.loads(CONFIG.read_text()))
        animated = AnimatedUNet(unet).to(torch.bfloat16)
    random_weights(animated).eval().requires_grad_(False)
    channels_last(unet)
    Drawing(animated, plan_drawing(Runtime(device="cpu", precision="bf16")))
    text = torch.randn(2, 77, 768).bfloat16()

    def predict(ask: Ask) -> Latents:
        return animated(ask.latents.bfloat16(), ask.timestep, text[ask.rows]).float()

    rows: list[dict[str, Any]] = [{"frames": 0, "peak GiB": round(peak_gib(), 2)}]
    for length in lengths:
        latents = torch.randn(1, 4, length, size // 8, size // 8).expand(2, -1, -1, -1, -1)
        ask = Ask(latents, torch.tensor(500), 0, BOTH, torch.arange(length))
        plan = WindowPlan(length, length=WINDOW, overlap=overlap)
        with views_in(animated, plan=plan) as within:
            started = time.process_time()
            within.clip_by_clip(within.views(predict))(ask)
            taken = time.process_time() - started
        rows.append(
            {"frames": length, "seconds": round(taken, 1), "peak GiB": round(peak_gib(), 2)}
        )
        print(json.dumps(rows[-1]), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--frames", type=int, nargs="+", default=[16, 64, 16])
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    parser.add_argument("--overlap", type=int, default=12)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = measure(options.frames, size=options.size, overlap=options.overlap)
    facts = {"command": ["python", *sys.argv], "report": {"rows": rows}}
    RESULT.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(RESULT)


if __name__ == "__main__":
    main()
