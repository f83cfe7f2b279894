"""New control networks for a U-Net, which do not change its output yet.

A ControlNet begins as a copy of the U-Net's encoder, behind convolutions that are zero
(arXiv 2302.05543, Sec. 3.2). The small ControlNets for SDXL leave the encoder's attention out.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Literal

import torch

from animatediff.model.control.sparse_control import SparseControl
from animatediff.weights.control.encoder import shared_settings
from animatediff.weights.control.sparse_control import HEADS

if TYPE_CHECKING:
    from diffusers.models.controlnets.controlnet import ControlNetModel
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

EncoderName = Literal["full", "small"]
"""A copy of the U-Net's encoder, or one without its attention and half of its middle block."""

_STEM = (16, 32, 96, 256)
"""The widths of the published stem."""


def new_controlnet(unet: UNet2DConditionModel, *, encoder: EncoderName) -> ControlNetModel:
    """A ControlNet with the U-Net's weights and an output of zero.

    Args:
        unet: the U-Net that it is to steer.
        encoder: how much of the U-Net it copies.
    """
    from diffusers.models.controlnets.controlnet import ControlNetModel

    narrowest = unet.config["block_out_channels"][0]
    settings: dict[str, Any] = shared_settings(unet) | {
        "in_channels": unet.config["in_channels"],
        # The last convolution of the stem makes the U-Net's width of the last of these.
        "conditioning_embedding_out_channels": tuple(min(w, narrowest) for w in _STEM),
    }
    if encoder == "small":
        settings |= {
            "down_block_types": ("DownBlock2D",) * len(unet.config["down_block_types"]),
            "mid_block_type": "UNetMidBlock2D",
            "transformer_layers_per_block": 1,
        }
    with torch.device(unet.device):
        net = ControlNetModel.from_config(settings)
    assert isinstance(net, ControlNetModel)
    theirs = unet.state_dict()
    own = net.state_dict()
    shared = {name: theirs[name].float() for name in own if name in theirs}
    net.load_state_dict({**own, **shared})
    return net


def new_sparse_control(
    unet: UNet2DConditionModel,
    *,
    encoder: EncoderName,
    sites: Collection[str] | None = None,
) -> SparseControl:
    """A SparseCtrl ``rgb`` network for a U-Net, with an output of zero.

    Args:
        unet: the U-Net that it is to steer.
        encoder: how much of the U-Net it copies.
        sites: where it has motion modules; ``None`` for after every layer.
    """
    net = new_controlnet(unet, encoder=encoder)
    with torch.device(unet.device):
        return SparseControl(net, version="rgb", heads=HEADS, sites=sites)
