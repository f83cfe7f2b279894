"""What one process of several runs in ``test_processes``: a regression whose gradients are kept.

usage: two_processes.py FOLDER MODE ACCUMULATE; MODE is ``train``, ``die`` to end rank 1 by SIGKILL at
its third step, ``fail`` to let rank 1 raise there, or ``both`` to train in two processes and in one
with as large a batch, forked after everything is imported.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from animatediff.apps.failures import report
from animatediff.training.lessons.lesson import numbers_themselves
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.training.steps.processes import Processes


class Regression:
    """Noise is drawn by the generator, so equal micro-batches have equal noise."""

    fetch = staticmethod(numbers_themselves)

    def __init__(self, mode: str) -> None:
        torch.manual_seed(0)
        self.learns: nn.Module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1))
        self.points = torch.randn(10, 3)
        self.size, self.mode, self.calls = 10, mode, 0

    def losses(self, indices: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.calls += 1
        if self.calls == 3 and os.environ.get("RANK") == "1":
            if self.mode == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            if self.mode == "fail":
                raise ValueError("rank 1 cannot go on")
        noise = torch.randn(len(indices), 1, generator=generator)
        return {"loss": (self.learns(self.points[indices]) - noise).square().mean()}


def train_in(folder: Path, mode: str, accumulate: int) -> int:
    lesson = Regression(mode)
    gradients: dict[str, Tensor] = {}
    clip = nn.utils.clip_grad_norm_

    def kept(parameters, most):
        for index, parameter in enumerate(list(lesson.learns.parameters())):
            gradients[f"{len(gradients):03d}-{index}"] = parameter.grad.clone()
        return clip(parameters, most)

    nn.utils.clip_grad_norm_ = kept
    options = Recipe(
        steps=6,
        batch_size=2,
        learning_rate=1e-2,
        accumulate=accumulate,
        warmup=1,
        precision="fp32",
        save_every=2,
        log_every=1,
    )
    try:
        learned = train(lesson, options, folder)
    except Exception as error:
        return report(error)
    processes = Processes()
    if processes.is_first:
        save_file(gradients, folder / "gradients.safetensors")
        save_file({k: v.contiguous() for k, v in learned.items()}, folder / "learned.safetensors")
    processes.close()
    return 0


def both(folder: Path) -> int:
    """The exit code of the first of three processes that failed; 0 if none did."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    two = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    children = [
        forked(folder / "two", 1, {**two, "RANK": rank, "LOCAL_RANK": rank}) for rank in "01"
    ]
    children.append(forked(folder / "one", 2, {}))
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return next((code for code in codes if code), 0)


def forked(folder: Path, accumulate: int, variables: dict[str, str]) -> int:
    """Train in a process of its own; returns its number."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.environ.update(variables)
            code = train_in(folder, "train", accumulate)
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def main() -> int:
    folder, mode, accumulate = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    return both(folder) if mode == "both" else train_in(folder, mode, accumulate)


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
