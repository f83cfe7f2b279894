"""Time and memory from a cold start to the first denoising step, at real size, ours and diffusers'.

A Stable Diffusion 1.5 checkpoint (2 GB, fp16, one file, the authors' names) and a v3 motion module (837
MB, fp16, the authors' names) with random weights are written once. Then both implementations load them
in fresh processes and take one denoising step of 2 frames at 64 px without guidance. The page cache is
dropped before each process if possible. ``measure.py`` interleaves them and writes the report.

Measured from outside, interpreter included: wall-clock time until the first step begins and until the
process ends, processor time, and peak resident memory. Memory-mapped files count as resident, which is
a disadvantage for an implementation that maps them.

    python benchmarks/cold_start.py --rounds 3
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import RESULTS, Report, Sample, interleaved

OURS = """
import sys, time
from animatediff import AnimationRequest, Animator
from animatediff.errors import Cancelled, NumericalError
from animatediff.runtime import Runtime

base, motion, precision = sys.argv[1:]
animator = Animator.load(base, motion=motion, runtime=Runtime(device="cpu", precision=precision))
request = AnimationRequest(
    prompt="a fox", model=base, motion=motion, num_frames=2, width=64, height=64, steps=25,
    guidance=1.0, precision=precision,
)
begins = lambda *_: print(time.time(), flush=True)
animator.animated.unet.register_forward_pre_hook(begins)
steps = []
try:
    animator.animate(request, on_step=steps.append, should_stop=lambda: len(steps) > 0)
except Cancelled:
    assert len(steps) == 1
except NumericalError:  # random weights overflow fp16; the step has been taken
    assert precision == "fp16"
"""

DIFFUSERS = """
import sys, time, torch
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


pipe.unet.register_forward_pre_hook(lambda *_: print(time.time(), flush=True))


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
    """Drop the page cache; returns whether this process may."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def in_a_process(command: list[str], environment: dict[str, str]) -> Sample:
    """Run one process and measure it from outside: seconds, and GiB of peak memory.

    Raises:
        SystemExit: the process failed.
    """
    drop_page_cache()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as log:
        started, clock = time.time(), time.perf_counter()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - clock
        if process.returncode:
            log.seek(0)
            sys.exit(log.read().decode()[-3000:])
        output.seek(0)
        # The process printed the time at which its first step began.
        begins = float(output.read().decode().split()[0]) - started
    return Sample(
        {
            "begins_s": begins,
            "ends_s": seconds,
            "cpu_s": usage.ru_utime + usage.ru_stime,
            "peak_gib": usage.ru_maxrss / 2**20,
        }
    )


def write_configs(folder: Path) -> None:
    """Write the configurations and the tokenizer that diffusers needs to load the files offline."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from tests.weights import synthetic
    from transformers import CLIPTextConfig

    from animatediff.weights.image_model.tokenizer import clip_tokenizer

    (folder / "adapter").mkdir(exist_ok=True)
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


def write_files(folder: Path) -> None:
    """Write the checkpoint, the motion module and the configurations."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.weights import synthetic

    for name, sample in (("base", "sd15"), ("motion", "motion-v3")):
        path = folder / f"{name}.safetensors"
        if not path.is_file():
            synthetic.write(path, sample, size="real")
    if not (folder / "sd15" / "model_index.json").is_file():
        write_configs(folder)


def main() -> None:
    """Write the files, measure, write the report, and print where it is."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--files", type=Path, help="a folder to keep the files in (3 GB)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder of the report")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = options.files or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        # In a separate process, so that its memory is free again when the others are measured.
        writer = multiprocessing.get_context("spawn").Process(target=write_files, args=(folder,))
        writer.start()
        writer.join()
        if writer.exitcode:
            sys.exit("The files could not be written.")
        base, motion = folder / "base.safetensors", folder / "motion.safetensors"
        gigabytes = (base.stat().st_size + motion.stat().st_size) / 1e9
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}
        arguments = [str(base), str(motion), options.precision]
        commands = {
            "ours": [sys.executable, "-c", OURS, *arguments],
            "diffusers": [sys.executable, "-c", DIFFUSERS, *arguments, str(folder)],
        }
        result = interleaved(
            {
                who: lambda command=command: in_a_process(command, environment)
                for who, command in commands.items()
            },
            rounds=options.rounds,
            on_run=lambda number, who, sample: print(
                number + 1, who, dict(sample.numbers), file=sys.stderr, flush=True
            ),
        )
    report = Report(
        name="cold-start",
        title="From a cold start to the first denoising step",
        setting=(
            f"Two files of {gigabytes:.2f} GB in total, {options.precision}, 2 frames at 64 px, each "
            "run in a fresh process with the page cache dropped if possible."
        ),
        measured=result,
        baseline="diffusers",
    )
    print(report.write(options.out))


if __name__ == "__main__":
    main()
