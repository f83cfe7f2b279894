"""Shard a frozen image model over the processes of a run: each holds a part.

PyTorch's FSDP2 (arXiv 2304.11277, ``fully_shard``) gathers the weights of one layer just before
they are needed and then frees them. Trained parameters are small and stay complete in every
process, so gradients, checkpoints and results are the same as without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from animatediff.errors import InputError
from animatediff.training.stages.job import Job
from animatediff.training.steps.processes import Processes


def shard_frozen(job: Job, processes: Processes) -> None:
    """Let each process keep its share of the image U-Net's weights only.

    Raises:
        InputError: there is only one process, or the image model is not frozen.
    """
    if processes.count < 2:
        raise InputError(
            "--shard needs several processes, and there is one; leave it out or start several "
            "with torchrun."
        )
    unet = None if job.frozen is None else job.frozen.base.unet
    if unet is None or any(p.requires_grad for p in unet.parameters()):
        raise InputError("This stage has no frozen image model to shard; leave out --shard.")
    # Shares are cut from contiguous rows.
    to: Any = unet.to  # torch's annotations know this argument only together with others
    to(memory_format=torch.contiguous_format)
    mesh = init_device_mesh(processes.device.type, (processes.count,))
    for layer in layers_of(unet):
        fully_shard(layer, mesh=mesh)
    fully_shard(unet, mesh=mesh)


def layers_of(unet: UNet2DConditionModel) -> Iterator[nn.Module]:
    """Yield the ResNets and attentions of every block, which hold nearly all of the weights."""
    for block in (*unet.down_blocks, unet.mid_block, *unet.up_blocks):
        for name in ("resnets", "attentions"):
            for layer in cast(nn.ModuleList, getattr(block, name, None) or ()):
                if next(layer.parameters(), None) is not None:
                    yield layer
