"""The copy of a U-Net's encoder that ControlNets are: built for the U-Net in use, without numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

from torch import nn

from animatediff.weights.control.file import ControlFile
from animatediff.weights.control.names import (
    PREFIX,
    STEM,
    FileName,
    diffusers_names,
    ldm_names,
)
from animatediff.weights.image_model.parts import build_part

if TYPE_CHECKING:
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

N = TypeVar("N", bound=nn.Module)

_SHARED = (
    *("flip_sin_to_cos", "freq_shift", "down_block_types", "only_cross_attention"),
    *("block_out_channels", "layers_per_block", "downsample_padding", "mid_block_scale_factor"),
    *("act_fn", "norm_num_groups", "norm_eps", "cross_attention_dim", "attention_head_dim"),
    *("num_attention_heads", "use_linear_projection", "class_embed_type", "num_class_embeds"),
    *("upcast_attention", "resnet_time_scale_shift", "projection_class_embeddings_input_dim"),
    *("mid_block_type", "addition_embed_type", "addition_time_embed_dim"),
    "transformer_layers_per_block",
)
"""Settings that an encoder has in common with its U-Net."""
_DEEPEST_STEM = 3
"""Halvings of the picture in a stem: pixels to latents."""


def shared_settings(unet: UNet2DConditionModel) -> dict[str, Any]:
    """The settings that the encoder of a control network takes from its U-Net."""
    return {key: unet.config[key] for key in _SHARED if key in unet.config}


def names_in(file: ControlFile, unet: UNet2DConditionModel) -> FileName:
    """Whose names the file has."""
    if file.found.layout != "ldm":
        return diffusers_names
    prefix = PREFIX if any(name.startswith(PREFIX) for name in file.header.shapes) else ""
    layers = cast(int, unet.config["layers_per_block"])
    return ldm_names(layers_per_block=layers, prefix=prefix)


def build_encoder(
    file: ControlFile,
    unet: UNet2DConditionModel,
    cls: type[N],
    *,
    extra: Mapping[str, Any] | None = None,
) -> N:
    """A network of diffusers with the U-Net's settings, and the stem and blocks that the file has.

    Args:
        file: the network's; a configuration beside it overrides the U-Net's settings.
        unet: the U-Net that it is to steer.
        cls: the class of the network.
        extra: settings that only this class has.

    Raises:
        FileError: the settings describe no network.
    """
    shared = shared_settings(unet)
    own = {key: value for key, value in file.config.items() if not key.startswith("_")}
    seen = _stem_in(file, names_in(file, unet)) | _blocks_in(file, unet)
    return build_part(file.path, cls, {**shared, **seen, **(extra or {}), **own})


def _stem_in(file: ControlFile, named: FileName) -> dict[str, Any]:
    """The channels of latents and hints, and the widths of the stem."""
    shapes = file.header.shapes
    first = shapes.get(named("conv_in.weight"), ())
    latents = {"in_channels": first[1]} if len(first) == 4 else {}
    ends = ("conv_in", *(f"blocks.{2 * i + 1}" for i in range(_DEEPEST_STEM)))
    weights = [shapes.get(named(f"{STEM}.{end}.weight"), ()) for end in ends]
    if not all(len(shape) == 4 for shape in weights):
        return latents
    return latents | {
        "conditioning_channels": weights[0][1],
        "conditioning_embedding_out_channels": tuple(shape[0] for shape in weights),
    }


def _blocks_in(file: ControlFile, unet: UNet2DConditionModel) -> dict[str, Any]:
    """Which blocks attend, and how deeply: the small ControlNets for SDXL have less than the U-Net."""
    if file.found.layout == "ldm":
        return {}
    names = file.header.shapes
    depths: list[int] = []
    for block in range(len(unet.config["block_out_channels"])):
        pattern = rf"down_blocks\.{block}\.attentions\.0\.transformer_blocks\.(\d+)\."
        depths.append(len({match[1] for name in names if (match := re.match(pattern, name))}))
    attends = any(name.startswith("mid_block.attentions.") for name in names)
    return {
        "down_block_types": tuple(
            "CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths
        ),
        "transformer_layers_per_block": tuple(depth or 1 for depth in depths),
        **({} if attends else {"mid_block_type": "UNetMidBlock2D"}),
    }
