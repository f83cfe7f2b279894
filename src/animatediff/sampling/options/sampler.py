"""Options of the sampler: its name, steps, seed, rounds, precision and quantisation."""

from __future__ import annotations

from typing import Annotated, Literal

from animatediff.options.declaration import Option
from animatediff.sampling.steps.sampler_names import SchedulerName, scheduler_named

MAX_STEPS = 999
"""One less than the steps of diffusion: DDIM's timesteps begin one above an even spacing."""
MAX_LCM_STEPS = 100
"""The steps that latent consistency models were distilled from."""
MAX_SEED = 2**64 - 1
MAX_ROUNDS = 10

Steps = Annotated[
    int | None,
    Option(
        "Denoising steps.",
        group="Sampling",
        foreign=("num-inference-steps", "inference-steps", "sampling-steps", "ddim-steps"),
        common=True,
        least=1,
        most=MAX_STEPS,
        unset="the motion module's",
    ),
]
Scheduler = Annotated[
    SchedulerName | None,
    Option(
        "The sampler, such as ddim, euler, euler-a, heun, dpm++2m-karras, dpm++sde-karras, unipc or "
        "lcm; names of other programs, such as 'DPM++ 2M Karras', are understood.",
        group="Sampling",
        metavar="NAME",
        respell=scheduler_named,
        foreign=("sampler", "sampler-name", "sampling-method", "scheduler-type"),
        unset="the motion module's",
    ),
]
FreeInit = Annotated[
    int,
    Option(
        "FreeInit rounds: draw the clip N times, each time from the low frequencies of the last "
        "(arXiv 2312.07537). Steadier, and N times as long. 1 is without FreeInit.",
        group="Sampling",
        foreign=("freeinit", "freeinit-iters", "free-init-iters", "num-iters"),
        least=1,
        most=MAX_ROUNDS,
    ),
]
Seed = Annotated[
    int,
    Option(
        "Seed of the noise.",
        group="Sampling",
        by_hand=True,
        least=0,
        most=MAX_SEED,
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    Option(
        "auto is fp16 on a GPU, bf16 on a CPU that computes in it, and fp32 on others.",
        group="Machine",
        foreign=("dtype", "fp16", "half", "no-half", "mixed-precision"),
    ),
]
Quantise = Annotated[
    Literal["int8", "fp8"] | None,
    Option(
        "Store the weights of linear layers in 8 bits (torchao), for less memory. Frames differ a "
        "little.",
        group="Machine",
        foreign=("quantize", "quantization", "load-in-8bit", "int8", "fp8", "quant"),
        unset="weights as precise as they compute",
    ),
]
