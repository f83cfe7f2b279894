"""ControlNets from their files, in the authors' names or diffusers'."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from animatediff.model.control.controlnet import Hinted
from animatediff.weights.control.encoder import build_encoder, names_in
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.image_model.parts import pair
from animatediff.weights.image_model.single_file import Source

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel


def plan_controlnet(file: ControlFile, unet: UNet2DConditionModel) -> ControlPlan:
    """Check a ControlNet against the U-Net that it is to steer, down to every name and shape.

    Raises:
        FileError: a name is missing, a shape differs, or over a tenth of the file is unknown.
    """
    from diffusers.models.controlnets.controlnet import ControlNetModel

    net = build_encoder(file, unet, ControlNetModel)
    named = names_in(file, unet)
    part = pair(net, file.header, {name: Source(named(name)) for name in net.state_dict()})
    pooled, notes = is_pooled(file)

    def load(dtype: torch.dtype, device: torch.device) -> Hinted:
        part.fill(dtype=dtype, device=device, convolutional=True)
        return Hinted(net, pooled=pooled)

    return ControlPlan(file, load, (*part.notes, *notes))


def is_pooled(file: ControlFile) -> tuple[bool, tuple[str, ...]]:
    """Whether the net was trained with residuals averaged over the plane, and a note on how we know.

    Only the net for shuffled pictures was. Its tensors do not show it, so besides the configuration
    its published name counts.
    """
    said = file.config.get("global_pool_conditions")
    if isinstance(said, bool):
        return said, ()
    if "shuffle" not in file.path.stem.lower():
        return False, ()
    return True, (
        f"{file.path.name} is taken for the ControlNet of shuffled pictures, by its name: its "
        "residuals are averaged over the picture.",
    )
