"""From a cold start to the first denoising step, at real size, against diffusers, in one run.

A Stable Diffusion 1.5 checkpoint (2 GB, fp16, one file, the authors' names) and a v3 motion module
(837 MB, fp16, the authors' names) of random numbers are written once. Then both implementations, in
turn and each in a fresh process with nothing of the files in the page cache if it can be dropped,
load them and take one denoising step of 2 frames at 64 px without guidance. Measured from outside:
wall time of the whole process, interpreter included, and its peak resident memory. Files mapped into
memory count as resident too, which is to the disadvantage of whoever maps.

    python benchmarks/cold_start.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OURS = """
import sys, torch
from animatediff import AnimationRequest, Animator
from animatediff.errors import Cancelled, NumericalError
from animatediff.runtime import Runtime

base, motion, precision = sys.argv[1:]
animator = Animator.load(base, motion=motion, runtime=Runtime(device="cpu", precision=precision))
request = AnimationRequest(
    prompt="a fox", model=base, motion=motion, num_frames=2, width=64, height=64, steps=25,
    guidance=1.0, precision=precision,
)
steps = []
try:
    animator.animate(request, on_step=steps.append, should_stop=lambda: len(steps) > 0)
except Cancelled:
    assert len(steps) == 1
except NumericalError:  # random weights overflow fp16; the step has been taken
    assert precision == "fp16"
"""

DIFFUSERS = """
import sys, torch
from diffusers import (
    AnimateDiffPipeline, DDIMScheduler, MotionAdapter, StableDiffusionPipeline,
)

base, motion, precision, configs = sys.argv[1:]
dtype = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}[precision]
adapter = MotionAdapter.from_single_file(motion, config=configs + "/adapter", torch_dtype=dtype)
still = StableDiffusionPipeline.from_single_file(
    base, config=configs + "/sd15", torch_dtype=dtype, local_files_only=True,
    safety_checker=None, requires_safety_checker=False,
)
pipe = AnimateDiffPipeline.from_pipe(still, motion_adapter=adapter, torch_dtype=dtype)
pipe.scheduler = DDIMScheduler(beta_schedule="linear", beta_start=0.00085, beta_end=0.012)


class Enough(Exception):
    pass


def stop(pipe, step, timestep, tensors):
    raise Enough


try:
    pipe("a fox", num_frames=2, width=64, height=64, num_inference_steps=25, guidance_scale=1.0,
         callback_on_step_end=stop)
except Enough:
    sys.exit(0)
sys.exit(1)
"""


def drop_page_cache() -> bool:
    """Forget every file in memory, where this process may."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Seconds of wall time and GiB of peak memory of one process.

    Raises:
        SystemExit: it failed.
    """
    drop_page_cache()
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - started
        if process.returncode:
            log.seek(0)
            sys.exit(log.read().decode()[-3000:])
    return seconds, usage.ru_maxrss / 2**20


def write_configs(folder: Path) -> None:
    """What diffusers needs beside the files to load them offline: configurations and a tokenizer."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from tests.weights import synthetic
    from transformers import CLIPTextConfig

    from animatediff.weights.tokenizer import clip_tokenizer

    (folder / "adapter").mkdir()
    (folder / "adapter" / "config.json").write_text(
        json.dumps(
            {"_class_name": "MotionAdapter"} | synthetic.adapter_config("sd15", rows=32, mid=False)
        )
    )
    base = folder / "sd15"
    for name, cls, config in (
        ("unet", UNet2DConditionModel, synthetic.unet_config("sd15")),
        ("vae", AutoencoderKL, synthetic.vae_config("sd15")),
    ):
        (base / name).mkdir(parents=True)
        (base / name / "config.json").write_text(json.dumps({"_class_name": cls.__name__} | config))
    (base / "text_encoder").mkdir()
    CLIPTextConfig(**synthetic.text_config("sd15")).save_pretrained(base / "text_encoder")
    DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012
    ).save_pretrained(base / "scheduler")
    clip_tokenizer().save_pretrained(base / "tokenizer")
    (base / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "StableDiffusionPipeline",
                "scheduler": ["diffusers", "DDIMScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
                "feature_extractor": [None, None],
                "safety_checker": [None, None],
                "image_encoder": [None, None],
            }
        )
    )


def main() -> None:
    """Write the files, measure in turn, print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    options = parser.parse_args()
    root = Path(__file__).parents[1]
    sys.path.insert(0, str(root))
    from tests.weights import synthetic

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = synthetic.write(folder / "base.safetensors", "sd15", size="real")
        motion = synthetic.write(folder / "motion.safetensors", "motion-v3", size="real")
        write_configs(folder)
        gigabytes = (base.stat().st_size + motion.stat().st_size) / 1e9
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        arguments = [str(base), str(motion), options.precision]
        commands = {
            "ours": [sys.executable, "-c", OURS, *arguments],
            "diffusers": [sys.executable, "-c", DIFFUSERS, *arguments, str(folder)],
        }
        runs: dict[str, list[tuple[float, float]]] = {who: [] for who in commands}
        for _ in range(options.rounds):
            for who, command in commands.items():
                runs[who].append(measured(command, environment))
    middle = {
        who: [statistics.median(values) for values in zip(*pairs, strict=True)]
        for who, pairs in runs.items()
    }
    print(
        json.dumps(
            {
                "files_gb": round(gigabytes, 2),
                "precision": options.precision,
                "runs": {
                    who: [[round(v, 2) for v in run] for run in all_] for who, all_ in runs.items()
                },
                "seconds": {who: round(values[0], 2) for who, values in middle.items()},
                "peak_gib": {who: round(values[1], 2) for who, values in middle.items()},
                "time_ratio": round(middle["ours"][0] / middle["diffusers"][0], 3),
                "memory_ratio": round(middle["ours"][1] / middle["diffusers"][1], 3),
            }
        )
    )


if __name__ == "__main__":
    main()
