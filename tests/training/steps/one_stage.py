"""What each process runs in ``test_sharding``: one stage, its gradients kept.

usage: one_stage.py FOLDER STAGE ACCUMULATE SETUP [shard]; SETUP is JSON.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from tests.training.options import from_table
from torch import Tensor, nn

from animatediff.training.runs.trainer import train
from animatediff.training.steps.processes import Processes
from animatediff.training.steps.sharding import shard_frozen
from animatediff.world.stages.table import STAGES


def main() -> int:
    folder, stage, accumulate, given, *shard = sys.argv[1:]
    setup = from_table(stage, json.loads(given))
    options = replace(
        STAGES[stage].recipe,
        steps=2,
        batch_size=1,
        accumulate=int(accumulate),
        learning_rate=1e-3,
        warmup=1,
        optimizer="adamw",
        precision="fp32",
    )
    processes = Processes()
    prepared = STAGES[stage].prepare(setup, options, torch.device("cpu"))
    assert prepared.frozen is not None
    unet = prepared.frozen.base.unet
    whole = sum(p.numel() for p in unet.parameters())
    if shard:
        shard_frozen(prepared, processes)
    held = sum(p.to_local().numel() if shard else p.numel() for p in unet.parameters())
    gradients: dict[str, Tensor] = {}
    clip = nn.utils.clip_grad_norm_
    learns = dict(prepared.lesson.learns.named_parameters())

    def kept(parameters, most):
        gradients.update({f"{len(gradients)} {k}": p.grad.clone() for k, p in learns.items()})
        return clip(parameters, most)

    nn.utils.clip_grad_norm_ = kept
    learned = train(prepared.lesson, options, Path(folder), facts=prepared.facts)
    if processes.is_first:
        prepared.save(learned)
        save_file(gradients, Path(folder) / "gradients.safetensors")
        (Path(folder) / "share").write_text(str(held / whole))
    processes.close()
    return 0


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
