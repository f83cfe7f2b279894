"""Union ControlNets (ControlNet++) from their files, of six types of hints or promax's eight."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import torch

from animatediff.model.control.union import HintedUnion
from animatediff.weights.control.encoder import build_encoder
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.image_model.parts import pair
from animatediff.weights.image_model.single_file import Source

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def plan_union(file: ControlFile, unet: UNet2DConditionModel) -> ControlPlan:
    """Check a union net against the U-Net that it is to steer.

    Args:
        file: the net's.
        unet: the U-Net.

    Raises:
        FileError: a name is missing, a shape differs, or over a tenth of the file is unknown.
    """
    from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel

    shapes = file.header.shapes
    types, width = shapes["task_embedding"] if len(shapes["task_embedding"]) == 2 else (0, 0)
    layers = {m[1] for name in shapes if (m := re.match(r"transformer_layes\.(\d+)\.", name))}
    embedding = shapes.get("control_add_embedding.linear_1.weight", (0, 0))
    extra = {
        "num_control_type": types,
        "num_trans_channel": width,
        "num_proj_channel": shapes.get("spatial_ch_projs.weight", (0,))[0],
        "num_trans_layer": len(layers),
        "num_trans_head": 8,
        "addition_time_embed_dim": embedding[1] // max(1, types),
    }
    net = build_encoder(file, unet, ControlNetUnionModel, extra=extra)
    part = pair(net, file.header, {name: Source(name) for name in net.state_dict()})

    def load(dtype: torch.dtype, device: torch.device) -> HintedUnion:
        part.fill(dtype=dtype, device=device, convolutional=True)
        return HintedUnion(net)

    return ControlPlan(file, load, part.notes)
