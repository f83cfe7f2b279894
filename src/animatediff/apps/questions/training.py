"""Train a MotionLoRA that an ablation measures, by the command that a user would type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from animatediff.errors import InputError

if TYPE_CHECKING:
    from animatediff.apps.commands.evaluation.ablation import AblationOptions
    from animatediff.apps.progress import Progress


def trained_motion_lora(
    options: AblationOptions, *, name: str, rank: int, clips: int, progress: Progress
) -> Path:
    """Return the file of a MotionLoRA in WORK/ablations, trained now if it is missing.

    Raises:
        InputError: the training failed; the same command continues it.
    """
    move = options.pattern.replace(":", "-")
    output = (
        options.work / "ablations" / f"{move}-{options.train_steps}-steps" / f"{name}.safetensors"
    )
    if output.exists():
        return output
    progress.stage(f"train {name}")
    output.parent.mkdir(parents=True, exist_ok=True)
    words = command(options, output=output, rank=rank, clips=clips)
    done = subprocess.run([sys.executable, "-m", "animatediff", *words], check=False)
    if done.returncode:
        raise InputError(
            f"Training {output.name} ended with the exit code {done.returncode}; the same ablation "
            "continues it."
        )
    return output


def command(options: AblationOptions, *, output: Path, rank: int, clips: int) -> list[str]:
    """Return the words of the training command; moves are trained at high noise."""
    words: dict[str, object] = {
        "--pattern": options.pattern,
        "--rank": rank,
        "--clips": clips,
        "--steps": options.train_steps,
        "--variations": 2,
        "--min-timestep": 500,
        "--learning-rate": 3e-3,
        "--warmup": min(20, options.train_steps),
        "--frames": options.frames,
        "--seed": options.seed,
        "--model": options.model,
        "--motion": options.motion,
        "--work": options.work,
        "--output": output,
        "--device": options.device,
    }
    pairs = (str(word) for pair in words.items() for word in pair)
    return ["train", "motion-lora", *pairs, "--scales", "0.5", "0.5", "0.5", "1"]
