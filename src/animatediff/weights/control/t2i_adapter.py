"""T2I-Adapters from their files, full, light and for SDXL, in the authors' names or diffusers'."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch

from animatediff.errors import FileError
from animatediff.model.control.t2i_adapter import Adapted
from animatediff.weights.control.file import ControlFile, ControlPlan
from animatediff.weights.image_model.parts import build_part, pair
from animatediff.weights.image_model.single_file import Source

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

_PREFIX = "adapter."
_ROWS = 2
"""ResNets of a block in the authors' full adapters, which number them throughout."""


def plan_t2i_adapter(file: ControlFile, unet: UNet2DConditionModel) -> ControlPlan:
    """Check a T2I-Adapter against the U-Net that it is to steer.

    Raises:
        FileError: its widths are not the U-Net's, or a name or shape is not as it should be.
    """
    from diffusers.models.adapter import T2IAdapter

    config = _config(file)
    _check_widths(file, config, tuple(unet.config["block_out_channels"]))
    net = build_part(file.path, T2IAdapter, config)
    sources = {name: Source(_file_name(name, file)) for name in net.state_dict()}
    part = pair(net, file.header, sources)

    def load(dtype: torch.dtype, device: torch.device) -> Adapted:
        part.fill(dtype=dtype, device=device, convolutional=True)
        return Adapted(net)

    return ControlPlan(file, load, part.notes)


def _config(file: ControlFile) -> dict[str, Any]:
    """The settings of diffusers' class, from the shapes alone.

    Pictures are unshuffled: a full adapter's first convolution reads 64 channels for one of grey and
    192 for three of colour, at 8 x 8 pixels each, and SDXL's 256 or 768, at 16 x 16.
    """
    shapes = {name.removeprefix(_PREFIX): shape for name, shape in file.header.shapes.items()}
    is_xl = file.found.base == "sdxl"
    factor = 16 if is_xl else 8
    if file.found.version == "light":
        ends = [shapes.get(f"body.{i}.out_conv.weight", (0,))[0] for i in range(4)]
        first = shapes.get("body.0.in_conv.weight", (0, 0))
        rows = _count(shapes, r"body\.0\.(?:body|resnets)\.(\d+)\.")
        kind, widths = "light_adapter", ends[:3]
    else:
        blocks = "resnets.0.block1" if file.found.layout == "diffusers" else "block1"
        step = 1 if file.found.layout == "diffusers" else _ROWS
        ends = [shapes.get(f"body.{step * i}.{blocks}.weight", (0,))[0] for i in range(4)]
        first = shapes.get("conv_in.weight", (0, 0))
        kind, widths, rows = "full_adapter_xl" if is_xl else "full_adapter", ends, _ROWS
    return {
        "adapter_type": kind,
        "in_channels": first[1] // factor**2,
        "channels": widths,
        "num_res_blocks": rows,
        "downscale_factor": factor,
    }


def _check_widths(file: ControlFile, config: dict[str, Any], unet: tuple[int, ...]) -> None:
    widths = tuple(config["channels"])
    if config["adapter_type"] == "light_adapter":
        widths = (*widths, widths[-1])
    # SDXL has three blocks; its adapters' last feature is for the middle block.
    needed = (*unet, unet[-1]) if config["adapter_type"] == "full_adapter_xl" else unet
    if widths != needed:
        raise FileError(
            f"{file.path} is {file.found.title} with features {_listed(widths)} wide, and the image "
            f"model's blocks are {_listed(needed)} wide; use one that was made for this model."
        )


def _listed(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))


def _count(names: dict[str, tuple[int, ...]], pattern: str) -> int:
    return len({match[1] for name in names if (match := re.match(pattern, name))})


def _file_name(name: str, file: ControlFile) -> str:
    """Where the file has one of diffusers' tensors."""
    if file.found.layout == "diffusers":
        return name
    name = name.removeprefix(_PREFIX)
    if file.found.version == "light":
        return name.replace(".resnets.", ".body.")
    name = re.sub(
        r"body\.(\d)\.resnets\.(\d)\.",
        lambda match: f"body.{_ROWS * int(match[1]) + int(match[2])}.",
        name,
    )
    return re.sub(
        r"body\.(\d)\.in_conv", lambda match: f"body.{_ROWS * int(match[1])}.in_conv", name
    )
