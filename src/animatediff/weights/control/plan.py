"""A control network of any kind, checked against the U-Net that it is to steer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from animatediff.weights.control.based import plan_based
from animatediff.weights.control.controlnet import plan_controlnet
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.control.sparse_control import plan_sparse_control
from animatediff.weights.control.t2i_adapter import plan_t2i_adapter
from animatediff.weights.control.union import plan_union
from animatediff.weights.families import Numerics
from animatediff.weights.image_model.networks import import_control_networks

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def plan_control(
    file: ControlFile,
    unet: UNet2DConditionModel,
    *,
    numerics: Numerics = "faithful",
) -> ControlPlan:
    """Check a control network down to every name and shape, and build it without numbers.

    Args:
        file: the network's.
        unet: the U-Net that it is to steer; a difference net or ControlLoRA takes its weights, which
            must be loaded when ``ControlPlan.load`` is called.
        numerics: how SparseCtrl normalises.

    Raises:
        FileError: the network does not fit the U-Net.
    """
    import_control_networks()
    if file.found.kind == "sparse-control":
        return plan_sparse_control(file, unet, numerics=numerics)
    if file.found.kind == "t2i-adapter":
        return plan_t2i_adapter(file, unet)
    match file.found.version:
        case "control-lora" | "difference":
            return plan_based(file, unet)
        case "union" | "union-promax":
            return plan_union(file, unet)
        case _:
            return plan_controlnet(file, unet)
