"""How a stage is trained: steps, batches, learning rate, optimizer, checkpoints.

Light to import, so that ``animatediff train --help`` is quick.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from animatediff.errors import InputError
from animatediff.options.checks import check_declared
from animatediff.options.declaration import Option

OptimizerName = Literal["adamw", "muon"]


@dataclass(frozen=True)
class Recipe:
    """How a stage is trained."""

    steps: Annotated[
        int,
        Option(
            "Number of optimizer steps.",
            group="Training",
            least=1,
            common=True,
            unset="the stage's own",
            foreign=(
                "max-train-steps",
                "max-steps",
                "num-steps",
                "iterations",
            ),
        ),
    ]
    batch_size: Annotated[
        int,
        Option(
            "Clips in one backward pass of one process.",
            group="Training",
            least=1,
            common=True,
            unset="the stage's own",
            foreign=(
                "train-batch-size",
                "bs",
                "batch",
            ),
        ),
    ]
    learning_rate: Annotated[
        float,
        Option(
            "Learning rate after the warm-up; Muon's is scaled to AdamW's.",
            group="Training",
            common=True,
            unset="the stage's own",
            foreign=(
                "lr",
                "unet-lr",
            ),
        ),
    ]
    accumulate: Annotated[
        int,
        Option(
            "Backward passes in one optimizer step.",
            group="Training",
            least=1,
            foreign=("gradient-accumulation-steps",),
        ),
    ] = 1
    warmup: Annotated[
        int,
        Option(
            "Steps of linear warm-up; a tenth of --steps where that is below --warmup.",
            group="Training",
            least=0,
            foreign=(
                "lr-warmup-steps",
                "warmup-steps",
            ),
        ),
    ] = 100
    schedule: Annotated[
        Literal["constant", "cosine"],
        Option(
            "Learning rate after the warm-up: constant, or cosine down to a twentieth.",
            group="Training",
            foreign=(
                "lr-scheduler",
                "scheduler",
            ),
        ),
    ] = "cosine"
    weight_decay: Annotated[float, Option("Decoupled weight decay.", group="Training", least=0)] = (
        0.01
    )
    adam_betas: Annotated[
        tuple[float, ...],
        Option("The two betas of AdamW.", group="Training", metavar="X X", several=True),
    ] = (0.9, 0.99)
    ema_decay: Annotated[
        float,
        Option(
            "Decay of the averaged weights, which are what is written; 0 writes the last weights.",
            group="Training",
            least=0,
            most=1,
        ),
    ] = 0.999
    clip: Annotated[
        float, Option("Largest norm of the gradient.", group="Training", name="clip-norm")
    ] = 1.0
    precision: Annotated[
        Literal["fp32", "bf16"],
        Option(
            "Precision of the forward pass.",
            group="Machine",
            unset="bf16 where the device computes in it, else fp32",
            foreign=(
                "mixed-precision",
                "fp16",
                "bf16",
            ),
        ),
    ] = "bf16"
    seed: Annotated[int, Option("Seed of everything that is drawn.", group="Training")] = 0
    save_every: Annotated[
        int,
        Option(
            "Steps between checkpoints, each with validation clips.",
            group="Output",
            least=1,
            foreign=(
                "save-every-n-steps",
                "checkpointing-steps",
                "save-steps",
            ),
        ),
    ] = 200
    log_every: Annotated[
        int, Option("Steps between lines of metrics.jsonl.", group="Output", least=1)
    ] = 20
    optimizer: Annotated[
        OptimizerName,
        Option(
            "AdamW, or Muon for weight matrices and AdamW for all other weights.",
            group="Training",
            foreign=(
                "optimizer-type",
                "use-8bit-adam",
            ),
        ),
    ] = "adamw"
    num_workers: Annotated[
        int, Option("Processes that read clips ahead.", group="Machine", least=0)
    ] = 0
    reading_timeout: Annotated[
        int,
        Option(
            "Time after which a clip that cannot be read ends the run.",
            group="Data",
            unit="seconds",
            least=1,
        ),
    ] = 300

    def __post_init__(self) -> None:
        check_declared(self)
        if len(self.adam_betas) != 2 or not all(0 <= beta < 1 for beta in self.adam_betas):
            raise InputError(
                f"AdamW needs two betas from 0 up to 1, not {list(self.adam_betas)}; give "
                "--adam-betas 0.9 0.999."
            )


def warmup_steps(recipe: Recipe) -> int:
    """Number of warm-up steps; a tenth of all steps if the warm-up is longer than the run."""
    return max(1, recipe.steps // 10) if recipe.warmup > recipe.steps else recipe.warmup
