"""The names and shapes of ControlNets, SparseCtrl, IP-Adapters and tiny autoencoders."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from tests.weights.synthetic.image_models import (
    channels,
    ldm_unet_name,
    shapes_built,
    unet_config,
    unet_shapes,
)
from tests.weights.synthetic.motion_modules import motion_module, motion_places
from tests.weights.synthetic.sample import Shapes, Size


def controlnet(base: str) -> Callable[[Size], Shapes]:
    """A ControlNet in diffusers' layout."""

    def shapes(size: Size) -> Shapes:
        config = unet_config(base, size)
        for key in ("sample_size", "up_block_types"):
            config.pop(key)
        return dict(shapes_built(lambda: ControlNetModel(**config)))

    return shapes


def ldm_controlnet(size: Size) -> Shapes:
    """A ControlNet as its authors publish it."""
    shapes: Shapes = {}
    names = set(unet_shapes("sd15", size))
    for name, shape in controlnet("sd15")(size).items():
        if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)\.(\w+)", name):
            renamed = f"zero_convs.{match[1]}.0.{match[2]}"
        elif name.startswith("controlnet_mid_block."):
            renamed = name.replace("controlnet_mid_block", "middle_block_out.0")
        elif match := re.fullmatch(r"controlnet_cond_embedding\.blocks\.(\d+)\.(\w+)", name):
            renamed = f"input_hint_block.{2 * (int(match[1]) + 1)}.{match[2]}"
        elif name.startswith("controlnet_cond_embedding."):
            place = 0 if "conv_in" in name else 14
            renamed = f"input_hint_block.{place}.{name.rpartition('.')[2]}"
        else:
            renamed = ldm_unet_name(name, names)
        shapes[f"control_model.{renamed}"] = shape
    return shapes


def sparse_config(which: str, size: Size = "real") -> dict[str, Any]:
    """The configuration of diffusers' SparseControlNetModel, ``rgb`` or ``scribble``."""
    config = {
        "conditioning_channels": 4 if which == "rgb" else 3,
        "use_simplified_condition_embedding": which == "rgb",
        "concat_conditioning_mask": True,
        "motion_max_seq_length": 32,
        "cross_attention_dim": 768,
    }
    return config | ({"block_out_channels": channels("sd15", size)} if size == "small" else {})


def sparse_control_diffusers(which: str) -> Callable[[Size], Shapes]:
    """SparseCtrl in diffusers' layout."""
    return lambda size: dict(
        shapes_built(lambda: SparseControlNetModel(**sparse_config(which, size)))
    )


def sparse_control(which: str) -> Callable[[Size], Shapes]:
    """SparseCtrl in the authors' layout: one temporal attention, in the down blocks alone."""

    def shapes(size: Size) -> Shapes:
        spatial = {
            name: shape
            for name, shape in sparse_control_diffusers(which)(size).items()
            if ".motion_modules." not in name
        }
        for path, width in motion_places("sd15", size, mid=False):
            if path.startswith("down_blocks."):
                prefix = f"{path}.temporal_transformer."
                spatial |= motion_module(prefix, width, rows=32, attention_blocks=1)
        return spatial

    return shapes


def ip_adapter(base: str) -> Callable[[Size], Shapes]:
    """IP-Adapter: a projection of CLIP's picture, and its own keys and values."""

    def shapes(size: Size) -> Shapes:
        unet_names = unet_shapes(base, size)
        text = unet_config(base, size)["cross_attention_dim"]
        into = 1024 if base == "sd15" else 1280
        whole: Shapes = {
            "image_proj.proj.weight": (4 * text, into),
            "image_proj.proj.bias": (4 * text,),
            "image_proj.norm.weight": (text,),
            "image_proj.norm.bias": (text,),
        }
        keys = [shape for name, shape in unet_names.items() if name.endswith("attn2.to_k.weight")]
        for i, shape in enumerate(keys):
            whole |= {f"ip_adapter.{2 * i + 1}.to_{p}_ip.weight": shape for p in "kv"}
        return whole

    return shapes


def taesd_diffusers(size: Size) -> Shapes:
    """The tiny autoencoder in diffusers' layout."""
    return dict(shapes_built(AutoencoderTiny))


def taesd_part(part: str) -> Callable[[Size], Shapes]:
    """One half of the tiny autoencoder as its author publishes it: numbered layers.

    The decoder's first layer, a clamp, has no weights, so that its numbers start at 1.
    """
    shift = 1 if part == "decoder" else 0

    def shapes(size: Size) -> Shapes:
        start = f"{part}.layers."
        return {
            re.sub(r"^\d+", lambda m: str(int(m[0]) + shift), name.removeprefix(start)): shape
            for name, shape in taesd_diffusers(size).items()
            if name.startswith(start)
        }

    return shapes
