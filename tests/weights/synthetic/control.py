"""The names and shapes of control networks: ControlNets of every kind, SparseCtrl, T2I-Adapters."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from diffusers.models.adapter import T2IAdapter
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from tests.weights.synthetic.image_models import (
    channels,
    ldm_unet_name,
    shapes_built,
    unet_config,
    unet_shapes,
)
from tests.weights.synthetic.motion_modules import motion_module, motion_places
from tests.weights.synthetic.sample import Shape, Shapes, Size

_RANK = 4
_STEM = {"union": (48, 96, 192, 384), "plain": (16, 32, 96, 256)}


def control_config(base: str, size: Size = "real") -> dict[str, Any]:
    """The configuration of diffusers' ControlNet for an image model."""
    config = unet_config(base, size)
    for key in ("sample_size", "up_block_types"):
        config.pop(key)
    return config


def union_config(types: int, size: Size = "real") -> dict[str, Any]:
    """The configuration of diffusers' union ControlNet, for SDXL."""
    width = channels("sdxl", size)[0]
    return control_config("sdxl", size) | {
        "conditioning_embedding_out_channels": _STEM["union"],
        "num_control_type": types,
        "num_trans_channel": width,
        "num_proj_channel": width,
    }


@functools.cache
def _controlnet(base: str, size: Size) -> Mapping[str, Shape]:
    return dict(shapes_built(lambda: ControlNetModel(**control_config(base, size))))


def controlnet(base: str) -> Callable[[Size], Shapes]:
    """A ControlNet in diffusers' layout."""
    return lambda size: dict(_controlnet(base, size))


def ldm_control_name(name: str, names: set[str], *, prefix: str = "control_model.") -> str:
    """The authors' name of a tensor of diffusers' ControlNet; ``names`` are the U-Net's."""
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
    return prefix + renamed


def ldm_controlnet(base: str, *, prefix: str = "control_model.") -> Callable[[Size], Shapes]:
    """A ControlNet as its authors publish it."""
    return lambda size: {
        ldm_control_name(name, set(unet_shapes(base, size)), prefix=prefix): shape
        for name, shape in _controlnet(base, size).items()
    }


def difference(size: Size) -> Shapes:
    """A ControlNet less the image model's weights, with an empty mark."""
    return {"difference": ()} | ldm_controlnet("sd15")(size)


def control_lora(size: Size) -> Shapes:
    """Stability's low-rank ControlNet for SDXL: factors of matrices, all else whole, and a mark."""
    shapes: Shapes = {"lora_controlnet": (0,)}
    for name, shape in ldm_controlnet("sdxl", prefix="")(size).items():
        own = name.startswith(("input_hint_block.", "zero_convs.", "middle_block_out."))
        if own or len(shape) < 2:
            shapes[name] = shape
            continue
        stem = name.removesuffix(".weight")
        shapes[f"{stem}.up"] = (shape[0], _RANK, *[1] * (len(shape) - 2))
        shapes[f"{stem}.down"] = (_RANK, *shape[1:])
    return shapes


def union(types: int) -> Callable[[Size], Shapes]:
    """A union ControlNet for SDXL; promax has eight types."""
    return lambda size: dict(
        shapes_built(lambda: ControlNetUnionModel(**union_config(types, size)))
    )


def lllite(size: Size) -> Shapes:
    """ControlNet-LLLite: a conditioning and two matrices for each attention projection."""
    shapes: Shapes = {}
    for name, shape in unet_shapes("sdxl", size).items():
        if name.endswith(("attn1.to_q.weight", "attn1.to_k.weight", "attn2.to_q.weight")):
            stem = f"lllite_unet_{name.removesuffix('.weight').replace('.', '_')}"
            shapes |= {
                f"{stem}.conditioning1.0.weight": (16, 3, 4, 4),
                f"{stem}.down.0.weight": (64, shape[1]),
                f"{stem}.mid.0.weight": (64, 96),
                f"{stem}.up.0.weight": (shape[0], 64),
            }
    return shapes


def ctrlora(size: Size) -> Shapes:
    """CtrLoRA: low-rank layers on a base ControlNet's matrices, its norms and zero convolutions."""
    shapes: Shapes = {}
    for name, shape in ldm_controlnet("sd15")(size).items():
        if "input_hint_block" in name:
            continue
        if len(shape) == 2 and name.endswith(".weight") and "zero_convs" not in name:
            stem = name.removesuffix(".weight")
            shapes[f"{stem}.lora_layer.down.weight"] = (_RANK, shape[1])
            shapes[f"{stem}.lora_layer.up.weight"] = (shape[0], _RANK)
        elif "norm" in name or "zero_convs" in name or "middle_block_out" in name:
            shapes[name] = shape
    return shapes


def svd_controlnet(size: Size) -> Shapes:
    """A ControlNet for Stable Video Diffusion: its resnets have a temporal half."""
    shapes: Shapes = {}
    for name, shape in _controlnet("sd15", size).items():
        shapes[name.replace(".resnets.0.", ".resnets.0.spatial_res_block.")] = shape
        if ".resnets.0." in name and len(shape) == 1:
            shapes[name.replace(".resnets.0.", ".resnets.0.temporal_res_block.")] = shape
        if name.endswith(".attentions.0.norm.weight"):
            stem = name.removesuffix("norm.weight")
            shapes[f"{stem}temporal_transformer_blocks.0.norm_in.weight"] = shape
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


def t2i_config(kind: str, size: Size = "real", *, grey: bool = False) -> dict[str, Any]:
    """The configuration of diffusers' T2IAdapter: ``full``, ``light`` or ``xl``."""
    widths = channels("sdxl" if kind == "xl" else "sd15", size)
    last = {"xl": (*widths, widths[-1]), "light": widths[:3], "full": widths}[kind]
    adapter = {"full": "full_adapter", "light": "light_adapter", "xl": "full_adapter_xl"}[kind]
    return {
        "in_channels": 1 if grey else 3,
        "channels": list(last),
        "num_res_blocks": 4 if kind == "light" else 2,
        "downscale_factor": 16 if kind == "xl" else 8,
        "adapter_type": adapter,
    }


def t2i_diffusers(kind: str, *, grey: bool = False) -> Callable[[Size], Shapes]:
    """A T2I-Adapter in diffusers' layout."""
    return lambda size: dict(shapes_built(lambda: T2IAdapter(**t2i_config(kind, size, grey=grey))))


def t2i_authors_name(name: str, kind: str) -> str:
    """The authors' name of a tensor of diffusers' T2I-Adapter."""
    name = name.removeprefix("adapter.")
    if kind == "light":
        return name.replace("resnets", "body")
    match = re.fullmatch(r"body\.(\d)\.(?:resnets\.(\d)\.)?(.+)", name)
    if match is None:
        return name
    return f"body.{2 * int(match[1]) + int(match[2] or 0)}.{match[3]}"


def t2i_adapter(kind: str, *, grey: bool = False) -> Callable[[Size], Shapes]:
    """A T2I-Adapter as its authors publish it."""
    return lambda size: {
        t2i_authors_name(name, kind): shape
        for name, shape in t2i_diffusers(kind, grey=grey)(size).items()
    }
