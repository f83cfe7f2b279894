"""SparseCtrl from its files, ``rgb`` and ``scribble``, in the authors' names or diffusers'."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import torch

from animatediff.model.control.sparse_control import SparseControl, SparseVersion
from animatediff.model.without_values import without_values
from animatediff.weights.control.encoder import build_encoder
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.control.names import STEM
from animatediff.weights.families import FAMILIES, Numerics
from animatediff.weights.image_model.parts import pair
from animatediff.weights.image_model.single_file import Source
from animatediff.weights.names.layouts import POSITIONS, motion_name, motion_names
from animatediff.weights.storage.files import Header

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

HEADS = 8
"""Of the published files' motion modules."""
SITES = "sites"
"""The metadata of a file of ours that has motion modules after some layers only: their names."""


def plan_sparse_control(
    file: ControlFile, unet: UNet2DConditionModel, *, numerics: Numerics = "faithful"
) -> ControlPlan:
    """Check a SparseCtrl model against the U-Net that it is to steer.

    Args:
        file: the model's.
        unet: the U-Net.
        numerics: normalise each frame, as it was trained, or over all frames, as diffusers does.

    Raises:
        FileError: a name is missing, a shape differs, or over a tenth of the file is unknown.
    """
    from diffusers.models.controlnets.controlnet import ControlNetModel

    version = cast(SparseVersion, file.found.version)
    family = FAMILIES["v3"].with_numerics(numerics)
    # Its own configuration names blocks of diffusers' that hold the motion modules as well.
    net = build_encoder(replace(file, config={}), unet, ControlNetModel)
    sites = file.header.metadata.get(SITES)
    with without_values():
        sparse = SparseControl(
            net,
            version=version,
            heads=HEADS,
            norm_scope=family.motion_norm_scope,
            sites=None if sites is None else sites.split(),
        )
    motion = {n: found for n in file.header.shapes if (found := motion_name(n)) is not None}
    theirs = {f"motion.{found.ours}": name for name, found in motion.items()}
    tables = {name for name, found in motion.items() if found.parameter == POSITIONS}
    kept = {name: shape for name, shape in file.header.shapes.items() if name not in tables}
    header = Header(file.path, kept, file.header.metadata)
    sources = {name: Source(theirs.get(name) or _spatial(name)) for name in sparse.state_dict()}
    part = pair(sparse, header, sources)

    def load(dtype: torch.dtype, device: torch.device) -> SparseControl:
        part.fill(dtype=dtype, device=device, convolutional=True)
        return sparse

    return ControlPlan(file, load, part.notes)


def file_names(sparse: SparseControl) -> dict[str, str]:
    """The authors' name of each of our tensors, for writing a file."""
    names: dict[str, str] = {}
    for name in sparse.state_dict():
        ours = name.removeprefix("motion.")
        names[name] = motion_names(ours, layout="authors")[0] if ours != name else _spatial(name)
    return names


def _spatial(name: str) -> str:
    """The file's name of a tensor that is no motion module's."""
    if name.startswith("stem."):
        return f"{STEM}.{name.removeprefix('stem.')}"
    return name.removeprefix("net.")
