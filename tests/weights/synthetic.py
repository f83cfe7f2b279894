"""Every published kind of file, made up: its exact names, shapes, wrappers and dtypes.

The names and shapes come from the classes of diffusers and transformers, built without storage from
their real configurations, and from the tables of the authors' code where those have no class. A
real-sized file costs nothing, because its numbers are a hole on the disk (``write_sparse``); at
reduced width (``size="small"``: narrow channels, few text layers, the real widths of the text) the
same names carry real random numbers (``tensors``, ``write``, ``write_pickle``, ``write_folder``).
"""

# ruff: noqa: E501 - the table of samples reads best with one to a line

from __future__ import annotations

import functools
import json
import math
import re
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_sparsectrl import SparseControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

Size = Literal["real", "small"]
Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Wrapper = Literal["plain", "state_dict", "controlnet", "ddp", "nested", "a1111-embedding"]

BITS = {"F16": 16, "BF16": 16, "F32": 32, "F64": 64, "I64": 64, "I32": 32, "U8": 8, "BOOL": 8}
DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
}


@dataclass(frozen=True)
class Sample:
    """One published file, and what it should be recognised as.

    Attributes:
        kind, family, version, layout, base: the truth, in the words of ``weights/inspection/result.py``.
        shapes: every name and shape, at a size.
        dtype: of its floating numbers.
        wrapper: what a pickle of it has around the table of tensors.
        extra: entries of the pickle that are not tensors.
        metadata: texts of the safetensors file.
        also: other families that have the same names and shapes.
        rank: of a LoRA.
    """

    kind: str
    family: str
    shapes: Callable[[Size], Shapes]
    version: str = ""
    layout: str = ""
    base: str = ""
    dtype: str = "F16"
    wrapper: Wrapper = "plain"
    extra: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    also: tuple[str, ...] = ()
    rank: int | None = None


# --- Image models ------------------------------------------------------------------------------

_SD_UNET: Mapping[str, Any] = {
    "sample_size": 64,
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
_SDXL_UNET: Mapping[str, Any] = {
    "sample_size": 128,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (320, 640, 1280),
    "transformer_layers_per_block": (1, 2, 10),
    "layers_per_block": 2,
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_REAL_UNETS: Mapping[str, Mapping[str, Any]] = {
    "sd15": _SD_UNET,
    "sd2": {
        **_SD_UNET,
        "cross_attention_dim": 1024,
        "attention_head_dim": (5, 10, 20, 20),
        "use_linear_projection": True,
    },
    "sdxl": _SDXL_UNET,
    "inpainting": {**_SD_UNET, "in_channels": 9},
}
_CLIP_L = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "projection_dim": 768,
}
_REAL_TEXT = {
    "sd15": _CLIP_L,
    "sd2": {
        **_CLIP_L,
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 23,
        "num_attention_heads": 16,
        "projection_dim": 512,
        "hidden_act": "gelu",
    },
    "sdxl-2": {
        **_CLIP_L,
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
        "projection_dim": 1280,
        "hidden_act": "gelu",
    },
}
_VAE: Mapping[str, Any] = {
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "block_out_channels": (128, 256, 512, 512),
    "layers_per_block": 2,
    "latent_channels": 4,
    "sample_size": 512,
}
_OPEN_CLIP_LAYERS = {"sd2": 24, "sdxl-2": 32}
"""Published single files hold all layers of the text encoder; diffusers leaves SD 2's last out."""


def channels(base: str, size: Size) -> tuple[int, ...]:
    """The widths of the U-Net's blocks."""
    wide = (320, 640, 1280) if base == "sdxl" else (320, 640, 1280, 1280)
    return wide if size == "real" else tuple(c // 10 for c in wide)


def unet_config(base: str, size: Size = "real") -> dict[str, Any]:
    """The configuration of ``sd15``, ``sd2``, ``sdxl`` or ``inpainting``, for diffusers' class."""
    config = dict(_REAL_UNETS[base])
    if size == "small":
        config |= {"block_out_channels": channels(base, size), "sample_size": 8}
        if base in ("sdxl", "sd2"):
            config["attention_head_dim"] = tuple(c // 8 for c in channels(base, size))
        if base == "sdxl":
            config["transformer_layers_per_block"] = (1, 2, 3)
    return config


def text_config(which: str, size: Size = "real") -> dict[str, Any]:
    """The configuration of the text encoder ``sd15`` (and SDXL's first), ``sd2`` or ``sdxl-2``."""
    config = dict(_REAL_TEXT[which])
    if size == "small":
        config |= {"num_hidden_layers": 2, "vocab_size": 1000, "intermediate_size": 64}
        config |= {"bos_token_id": 998, "eos_token_id": 999, "pad_token_id": 999}
    return config


def vae_config(base: str, size: Size = "real") -> dict[str, Any]:
    """The configuration of the autoencoder."""
    config = dict(_VAE) | {"scaling_factor": 0.13025 if base == "sdxl" else 0.18215}
    if size == "small":
        config |= {"block_out_channels": (8, 16, 32, 32), "norm_num_groups": 8, "sample_size": 32}
    return config


def _shapes_of(build: Callable[[], nn.Module]) -> tuple[tuple[str, Shape], ...]:
    with torch.device("meta"):
        return tuple((name, tuple(t.shape)) for name, t in build().state_dict().items())


@functools.cache
def _unet(base: str, size: Size) -> Mapping[str, Shape]:
    return dict(_shapes_of(lambda: UNet2DConditionModel(**unet_config(base, size))))


@functools.cache
def _vae(size: Size) -> Mapping[str, Shape]:
    return dict(_shapes_of(lambda: AutoencoderKL(**vae_config("sd15", size))))


@functools.cache
def _text(which: str, size: Size) -> Mapping[str, Shape]:
    """Names as published: nested in ``text_model``, which newer transformers do without."""
    cls = CLIPTextModelWithProjection if which == "sdxl-2" else CLIPTextModel
    shapes = _shapes_of(lambda: cls(CLIPTextConfig(**text_config(which, size))))
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": s
        for name, s in shapes
    }


def unet(base: str) -> Callable[[Size], Shapes]:
    """A U-Net in diffusers' layout."""
    return lambda size: dict(_unet(base, size))


def ldm_unet(base: str, *, prefix: str = "model.diffusion_model.") -> Callable[[Size], Shapes]:
    """A U-Net in the layout of single files."""
    return lambda size: {
        prefix + ldm_unet_name(name, set(_unet(base, size))): shape
        for name, shape in _unet(base, size).items()
    }


def ldm_vae(*, prefix: str = "first_stage_model.") -> Callable[[Size], Shapes]:
    """An autoencoder in the layout of single files, whose attention is a convolution."""

    def shapes(size: Size) -> Shapes:
        renamed: Shapes = {}
        for name, shape in _vae(size).items():
            ldm = ldm_vae_name(name)
            is_matrix = ".attn_1." in ldm and len(shape) == 2
            renamed[prefix + ldm] = (*shape, 1, 1) if is_matrix else shape
        return renamed

    return shapes


def open_clip(which: str, size: Size, *, prefix: str) -> Shapes:
    """A text encoder in OpenCLIP's layout, whose q, k and v are one matrix."""
    config = text_config(which, size)
    width, vocabulary = config["hidden_size"], config["vocab_size"]
    inner = config["intermediate_size"]
    layers = config["num_hidden_layers"] if size == "small" else _OPEN_CLIP_LAYERS[which]
    shapes: Shapes = {
        "positional_embedding": (77, width),
        "text_projection": (width, width),
        "logit_scale": (),
        "token_embedding.weight": (vocabulary, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
    }
    for i in range(layers):
        block = {
            "ln_1.weight": (width,),
            "ln_1.bias": (width,),
            "attn.in_proj_weight": (3 * width, width),
            "attn.in_proj_bias": (3 * width,),
            "attn.out_proj.weight": (width, width),
            "attn.out_proj.bias": (width,),
            "ln_2.weight": (width,),
            "ln_2.bias": (width,),
            "mlp.c_fc.weight": (inner, width),
            "mlp.c_fc.bias": (inner,),
            "mlp.c_proj.weight": (width, inner),
            "mlp.c_proj.bias": (width,),
        }
        shapes |= {f"transformer.resblocks.{i}.{name}": shape for name, shape in block.items()}
    return {prefix + name: shape for name, shape in shapes.items()}


_SCHEDULE = (
    "alphas_cumprod alphas_cumprod_prev betas log_one_minus_alphas_cumprod "
    "posterior_log_variance_clipped posterior_mean_coef1 posterior_mean_coef2 posterior_variance "
    "sqrt_alphas_cumprod sqrt_one_minus_alphas_cumprod sqrt_recip_alphas_cumprod "
    "sqrt_recipm1_alphas_cumprod"
).split()


def _with_prefix(shapes: Mapping[str, Shape], prefix: str) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def single_file(base: str) -> Callable[[Size], Shapes]:
    """A whole image model in one file, as ``v1-5-pruned-emaonly`` and what descends from it."""

    def shapes(size: Size) -> Shapes:
        whole = ldm_unet(base)(size) | ldm_vae()(size)
        if base in ("sd15", "inpainting"):
            prefix = "cond_stage_model.transformer."
            whole |= _with_prefix(_text("sd15", size), prefix)
            whole[f"{prefix}text_model.embeddings.position_ids"] = (1, 77)
            whole |= dict.fromkeys(_SCHEDULE, (1000,)) | {"model_ema.decay": ()}
        elif base == "sd2":
            whole |= open_clip("sd2", size, prefix="cond_stage_model.model.")
            whole |= dict.fromkeys(_SCHEDULE, (1000,))
        else:
            whole |= _with_prefix(_text("sd15", size), "conditioner.embedders.0.transformer.")
            whole |= open_clip("sdxl-2", size, prefix="conditioner.embedders.1.model.")
        return whole

    return shapes


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}


def ldm_unet_name(name: str, names: set[str]) -> str:
    """The name in a single file of a U-Net's tensor; ``names`` are all of diffusers'."""
    for ours, theirs in _TOP.items():
        if name.startswith(f"{ours}."):
            return theirs + name.removeprefix(ours)
    match = re.fullmatch(r"(down|up|mid)_block(?:s\.(\d+))?\.(\w+)\.(\d+)\.(.+)", name)
    assert match, name
    side, block, part, index, rest = match[1], int(match[2] or 0), match[3], int(match[4]), match[5]
    if part == "resnets":
        layer, _, leaf = rest.partition(".")
        rest = f"{_RESNET[layer]}.{leaf}"
    if side == "mid":
        return f"middle_block.{1 if part == 'attentions' else 2 * index}.{rest}"
    if part == "downsamplers":
        return f"input_blocks.{3 * (block + 1)}.0.{rest.replace('conv', 'op')}"
    if part == "upsamplers":
        attends = any(n.startswith(f"up_blocks.{block}.attentions.") for n in names)
        return f"output_blocks.{3 * block + 2}.{2 if attends else 1}.{rest}"
    place = 1 if part == "attentions" else 0
    row = f"input_blocks.{1 + 3 * block + index}" if side == "down" else None
    return f"{row or f'output_blocks.{3 * block + index}'}.{place}.{rest}"


_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def ldm_vae_name(name: str) -> str:
    """The name in a single file of an autoencoder's tensor."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"down_blocks\.(\d)\.resnets\.", r"down.\1.block.", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets\.", lambda m: f"up.{3 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "mid_block.attentions.0." in name:
        start, _, rest = name.partition("mid_block.attentions.0.")
        layer, _, leaf = rest.rpartition(".")
        return f"{start}mid.attn_1.{_ATTENTION[layer]}.{leaf}"
    return name


# --- Motion modules ----------------------------------------------------------------------------


def motion_module(
    prefix: str, width: int, *, rows: int | None, attention_blocks: int = 2
) -> Shapes:
    """One motion module in the authors' layout."""
    block = f"{prefix}transformer_blocks.0."
    shapes: Shapes = {
        f"{prefix}norm.weight": (width,),
        f"{prefix}norm.bias": (width,),
        f"{prefix}proj_in.weight": (width, width),
        f"{prefix}proj_in.bias": (width,),
    }
    for i in range(attention_blocks):
        attention = f"{block}attention_blocks.{i}."
        shapes |= {f"{attention}to_{p}.weight": (width, width) for p in "qkv"}
        shapes |= {
            f"{attention}to_out.0.weight": (width, width),
            f"{attention}to_out.0.bias": (width,),
        }
        if rows is not None:
            shapes[f"{attention}pos_encoder.pe"] = (1, rows, width)
    for i in range(attention_blocks):
        shapes |= {f"{block}norms.{i}.weight": (width,), f"{block}norms.{i}.bias": (width,)}
    return shapes | {
        f"{block}ff.net.0.proj.weight": (8 * width, width),
        f"{block}ff.net.0.proj.bias": (8 * width,),
        f"{block}ff.net.2.weight": (width, 4 * width),
        f"{block}ff.net.2.bias": (width,),
        f"{block}ff_norm.weight": (width,),
        f"{block}ff_norm.bias": (width,),
        f"{prefix}proj_out.weight": (width, width),
        f"{prefix}proj_out.bias": (width,),
    }


def motion_places(base: str, size: Size, *, mid: bool) -> Iterator[tuple[str, int]]:
    """The path and the width of every motion module."""
    widths = channels(base, size)
    for i, width in enumerate(widths):
        yield from ((f"down_blocks.{i}.motion_modules.{j}", width) for j in range(2))
    for i, width in enumerate(reversed(widths)):
        yield from ((f"up_blocks.{i}.motion_modules.{j}", width) for j in range(3))
    if mid:
        yield "mid_block.motion_modules.0", widths[-1]


def authors_motion(
    base: str = "sd15", *, rows: int | None = 32, mid: bool = False
) -> Callable[[Size], Shapes]:
    """All motion modules in the authors' layout."""

    def shapes(size: Size) -> Shapes:
        whole: Shapes = {}
        for path, width in motion_places(base, size, mid=mid):
            whole |= motion_module(f"{path}.temporal_transformer.", width, rows=rows)
        return whole

    return shapes


def hotshot_motion(size: Size) -> Shapes:
    """Hotshot-XL's names for the same tensors."""
    return {
        re.sub(r"motion_modules\.(\d)\.temporal_transformer\.", r"temporal_attentions.\1.", name)
        .replace("pos_encoder.pe", "pos_encoder.positional_encoding"): shape
        for name, shape in authors_motion("sdxl", rows=24)(size).items()
    }  # fmt: skip


def adapter_config(base: str, size: Size = "real", *, rows: int, mid: bool) -> dict[str, Any]:
    """The configuration of diffusers' MotionAdapter."""
    return {
        "block_out_channels": channels(base, size),
        "motion_layers_per_block": 2,
        "motion_mid_block_layers_per_block": 1,
        "motion_num_attention_heads": 8,
        "motion_norm_num_groups": 32,
        "motion_max_seq_length": rows,
        "use_motion_mid_block": mid,
    }


def diffusers_motion(
    base: str = "sd15", *, rows: int = 32, mid: bool = False
) -> Callable[[Size], Shapes]:
    """All motion modules as diffusers' MotionAdapter names them, with its tables of positions."""
    config = functools.partial(adapter_config, base, rows=rows, mid=mid)
    return lambda size: dict(_shapes_of(lambda: MotionAdapter(**config(size))))


def our_motion(size: Size) -> Shapes:
    """This package's layout."""
    shapes: Shapes = {}
    for path, width in motion_places("sd15", size, mid=False):
        side, block, index = re.fullmatch(r"(\w+)_blocks\.(\d)\.\w+\.(\d)", path).groups()  # type: ignore[union-attr]
        shapes |= motion_module(f"{side}_{block}_{index}.", width, rows=None)
    return shapes


def pia(size: Size) -> Shapes:
    """PIA: motion modules, and an input layer that also reads the picture."""
    width = channels("sd15", size)[0]
    return authors_motion(mid=True)(size) | {
        "conv_in.weight": (width, 9, 3, 3),
        "conv_in.bias": (width,),
    }


def animatelcm_i2v(size: Size) -> Shapes:
    """AnimateLCM for pictures; below ``img_encoder.`` the names are of our making."""
    encoder: Shapes = {}
    for i, width in enumerate(channels("sd15", size)):
        encoder[f"img_encoder.blocks.{i}.weight"] = (width, 4 if i == 0 else width, 3, 3)
        encoder[f"img_encoder.blocks.{i}.bias"] = (width,)
    return authors_motion(rows=None, mid=True)(size) | encoder


def whole_unet_ddp(size: Size) -> Shapes:
    """What the authors' training script saves: the whole U-Net, every name after ``module.``."""
    return _with_prefix(_unet("sd15", size) | authors_motion(rows=32)(size), "module.")


# --- Low-rank files ----------------------------------------------------------------------------

_PROJECTIONS = ("to_q", "to_k", "to_v", "to_out.0")


def _linears(shapes: Mapping[str, Shape], pattern: str) -> dict[str, Shape]:
    """Layers whose path matches, with the shape of their weight."""
    return {
        name.removesuffix(".weight"): shape
        for name, shape in shapes.items()
        if name.endswith(".weight") and len(shape) > 1 and re.search(pattern, name)
    }


def _attention_layers(base: str, size: Size) -> dict[str, Shape]:
    return _linears(_unet(base, size), r"\.attn[12]\.to_(q|k|v|out\.0)\.weight$")


def _transformer_layers(base: str, size: Size) -> dict[str, Shape]:
    return _linears(_unet(base, size), r"\.attentions\.\d\.")


def _resnet_layers(base: str, size: Size) -> dict[str, Shape]:
    pattern = r"\.resnets\.\d\.(conv1|conv2|conv_shortcut|time_emb_proj)\.|samplers\.0\.conv\."
    return _linears(_unet(base, size), pattern)


def _text_layers(which: str, size: Size) -> dict[str, Shape]:
    return _linears(_text(which, size), r"encoder\.layers\.\d+\.(self_attn|mlp)\.")


def _motion_attention(size: Size, *, mid: bool, base: str = "sd15") -> dict[str, Shape]:
    shapes = authors_motion(base, mid=mid)(size)
    return _linears(shapes, r"\.attention_blocks\.\d\.to_(q|k|v|out\.0)\.weight$")


def processor_names(layers: Mapping[str, Shape], *, rank: int, prefix: str = "") -> Shapes:
    """Low-rank pairs as old diffusers' attention processors name them."""
    shapes: Shapes = {}
    for path, (out, into) in layers.items():
        parent, _, projection = path.removesuffix(".0").rpartition(".")
        start = f"{prefix}{parent}.processor.{projection}_lora"
        shapes |= {f"{start}.down.weight": (rank, into), f"{start}.up.weight": (out, rank)}
    return shapes


def dotted_names(
    layers: Mapping[str, Shape], *, rank: int, prefix: str = "", words: tuple[str, str]
) -> Shapes:
    """Low-rank pairs below the dotted path of their layer, such as PEFT's ``lora_A``."""
    shapes: Shapes = {}
    for path, shape in layers.items():
        out, into, *kernel = shape
        shapes[f"{prefix}{path}.{words[0]}.weight"] = (rank, into, *kernel)
        shapes[f"{prefix}{path}.{words[1]}.weight"] = (out, rank, *(1 for _ in kernel))
    return shapes


def kohya_stem(path: str, *, prefix: str = "lora_unet") -> str:
    """kohya's name of a layer."""
    return f"{prefix}_{path.replace('.', '_')}"


def kohya(
    layers: Mapping[str, Shape], *, rank: int, prefix: str = "lora_unet", alpha: bool = True
) -> Shapes:
    """Low-rank pairs in kohya's names; a convolution has its kernel in the first of the two."""
    shapes: Shapes = {}
    for path, (out, into, *kernel) in layers.items():
        stem = kohya_stem(path, prefix=prefix)
        shapes[f"{stem}.lora_down.weight"] = (rank, into, *kernel)
        shapes[f"{stem}.lora_up.weight"] = (out, rank, *(1 for _ in kernel))
        if alpha:
            shapes[f"{stem}.alpha"] = ()
    return shapes


def kohya_lora(
    base: str, *, rank: int = 16, conv: bool = False, text: bool = True
) -> Callable[[Size], Shapes]:
    """A kohya LoRA of the U-Net and the text encoder(s); with ``conv`` a LoCon."""

    def shapes(size: Size) -> Shapes:
        layers = _transformer_layers(base, size)
        if conv:
            layers |= _resnet_layers(base, size)
        pairs = kohya(layers, rank=rank)
        if text and base == "sdxl":
            pairs |= kohya(_text_layers("sd15", size), rank=rank, prefix="lora_te1")
            pairs |= kohya(_text_layers("sdxl-2", size), rank=rank, prefix="lora_te2")
        elif text:
            pairs |= kohya(_text_layers(base, size), rank=rank, prefix="lora_te")
        return pairs

    return shapes


def sgm_lora(size: Size) -> Shapes:
    """A kohya LoRA for SDXL, its layers named as in the single file."""
    names = set(_unet("sdxl", size))
    layers = {
        ldm_unet_name(f"{path}.weight", names).removesuffix(".weight"): shape
        for path, shape in _transformer_layers("sdxl", size).items()
    }
    return kohya(layers, rank=16) | kohya(_text_layers("sd15", size), rank=16, prefix="lora_te1")


def loha(size: Size, *, rank: int = 8) -> Shapes:
    """LyCORIS' Hadamard product of two low-rank matrices."""
    shapes: Shapes = {}
    for path, (out, into, *kernel) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        for i in "12":
            shapes[f"{stem}.hada_w{i}_a"] = (out, rank)
            shapes[f"{stem}.hada_w{i}_b"] = (rank, into * math.prod(kernel))
        shapes[f"{stem}.alpha"] = ()
    return shapes


def lokr(size: Size, *, rank: int = 8, factor: int = 8) -> Shapes:
    """LyCORIS' Kronecker product, its large factor low-rank."""
    shapes: Shapes = {}
    for path, (out, into, *_) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        shapes[f"{stem}.lokr_w1"] = (factor, factor)
        shapes[f"{stem}.lokr_w2_a"] = (out // factor, rank)
        shapes[f"{stem}.lokr_w2_b"] = (rank, into // factor)
        shapes[f"{stem}.alpha"] = ()
    return shapes


def dora(size: Size, *, rank: int = 16) -> Shapes:
    """A LoRA with the magnitude of every output of its layers."""
    layers = _transformer_layers("sd15", size)
    magnitudes = {
        f"{kohya_stem(path)}.dora_scale": (out, 1, *(1 for _ in kernel))
        for path, (out, _, *kernel) in layers.items()
    }
    return kohya(layers, rank=rank) | magnitudes


def oft(size: Size, *, blocks: int = 8) -> Shapes:
    """Orthogonal fine-tuning: a rotation of blocks of outputs."""
    shapes: Shapes = {}
    for path, (out, *_) in _transformer_layers("sd15", size).items():
        stem = kohya_stem(path)
        shapes[f"{stem}.oft_blocks"] = (blocks, out // blocks, out // blocks)
        shapes[f"{stem}.alpha"] = ()
    return shapes


def ia3(size: Size) -> Shapes:
    """LyCORIS' (IA)^3: a factor for each output."""
    shapes: Shapes = {}
    for path, (out, *_) in _linears(_unet("sd15", size), r"\.attn[12]\.to_[kv]\.").items():
        shapes |= {f"{kohya_stem(path)}.weight": (out, 1), f"{kohya_stem(path)}.on_input": ()}
    return shapes


def full_diff(size: Size) -> Shapes:
    """The whole difference of each weight."""
    shapes: Shapes = {}
    for path, shape in _transformer_layers("sd15", size).items():
        shapes[f"{kohya_stem(path)}.diff"] = shape
        if f"{path}.bias" in _unet("sd15", size):
            shapes[f"{kohya_stem(path)}.diff_b"] = (shape[0],)
    return shapes


def domain_adapter(size: Size) -> Shapes:
    """``v3_sd15_adapter``: rank 128 on every spatial attention."""
    return processor_names(_attention_layers("sd15", size), rank=128)


def motion_lora(*, mid: bool = True, rank: int = 64, prefix: str = "") -> Callable[[Size], Shapes]:
    """``v2_lora_*``: on every temporal attention."""
    return lambda size: processor_names(_motion_attention(size, mid=mid), rank=rank, prefix=prefix)


def motion_lora_diffusers(size: Size) -> Shapes:
    """The same, renamed for diffusers."""
    return {
        "unet."
        + name.replace(".temporal_transformer", "")
        .replace(".attention_blocks.0", ".attn1")
        .replace(".attention_blocks.1", ".attn2"): shape
        for name, shape in motion_lora()(size).items()
    }


def motion_lora_kohya(size: Size) -> Shapes:
    """The same, as distributed for A1111."""
    return kohya(_motion_attention(size, mid=True), rank=64)


def motion_lora_peft(size: Size) -> Shapes:
    """The same, as a trainer with PEFT writes it."""
    layers = {
        path.replace(".temporal_transformer", "")
        .replace(".attention_blocks.0", ".attn1")
        .replace(".attention_blocks.1", ".attn2"): shape
        for path, shape in _motion_attention(size, mid=False).items()
    }
    return dotted_names(layers, rank=32, prefix="unet.", words=("lora_A", "lora_B"))


def motion_director(size: Size) -> Shapes:
    """MotionDirector's temporal file: every Linear of the block, in MotionLoRA's naming."""
    shapes: Shapes = {}
    layers = _linears(authors_motion(mid=True)(size), r"\.transformer_blocks\.0\.(attention|ff\.)")
    for path, (out, into) in ((p, s) for p, s in layers.items() if len(s) == 2):
        parent, _, leaf = path.rpartition(".")
        start = f"{parent}.processor.{leaf}_lora"
        shapes |= {f"{start}.down.weight": (32, into), f"{start}.up.weight": (out, 32)}
    return shapes


def our_lora(size: Size) -> Shapes:
    """This package's layout of an image LoRA."""
    return dotted_names(_attention_layers("sd15", size), rank=16, words=("down", "up"))


# --- Control, embeddings, and the rest ---------------------------------------------------------


def controlnet(base: str) -> Callable[[Size], Shapes]:
    """A ControlNet in diffusers' layout."""

    def shapes(size: Size) -> Shapes:
        config = unet_config(base, size)
        for key in ("sample_size", "up_block_types"):
            config.pop(key)
        return dict(_shapes_of(lambda: ControlNetModel(**config)))

    return shapes


def ldm_controlnet(size: Size) -> Shapes:
    """A ControlNet as its authors publish it."""
    shapes: Shapes = {}
    names = set(_unet("sd15", size))
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
        _shapes_of(lambda: SparseControlNetModel(**sparse_config(which, size)))
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
        unet_names = _unet(base, size)
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
    return dict(_shapes_of(AutoencoderTiny))


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


def always(shapes: Shapes) -> Callable[[Size], Shapes]:
    """The same names and shapes at every size."""
    return lambda size: dict(shapes)


_CONFIG = {"animatediff_config": {"unet_additional_kwargs": {"use_motion_module": True}}}
_EMBEDDING = {"string_to_token": {"*": 265}, "name": "fox", "step": 499, "sd_checkpoint": None}
_OURS = {
    "kind": "motion",
    "family": "v3",
    "branch": "transformer",
    "mid": "false",
    "norm_scope": "frame",
    "resnet_norm_scope": "frame",
    "heads": "8",
}

LIGHTNING = ("lightning-1step", "lightning-2step", "lightning-4step", "lightning-8step")

SAMPLES: Mapping[str, Sample] = {
    # Image models, whole and in parts.
    "sd15": Sample("checkpoint", "sd15", single_file("sd15"), layout="ldm", base="sd15", wrapper="state_dict", extra={"global_step": 840000}),
    "sd15-inpainting": Sample("checkpoint", "sd15", single_file("inpainting"), version="inpainting", layout="ldm", base="sd15"),
    "sd2": Sample("checkpoint", "sd2", single_file("sd2"), layout="ldm", base="sd2", wrapper="state_dict"),
    "sdxl": Sample("checkpoint", "sdxl", single_file("sdxl"), layout="ldm", base="sdxl"),
    "unet-sd15": Sample("unet", "sd15", unet("sd15"), layout="diffusers", base="sd15"),
    "unet-sd2": Sample("unet", "sd2", unet("sd2"), layout="diffusers", base="sd2"),
    "unet-sdxl": Sample("unet", "sdxl", unet("sdxl"), layout="diffusers", base="sdxl"),
    "unet-sd15-ldm": Sample("unet", "sd15", ldm_unet("sd15"), layout="ldm", base="sd15"),
    "text-sd15": Sample("text-encoder", "sd15", lambda size: dict(_text("sd15", size)), layout="diffusers", base="sd15", also=("sdxl",)),
    "text-sd2": Sample("text-encoder", "sd2", lambda size: dict(_text("sd2", size)), layout="diffusers", base="sd2"),
    "text-sdxl-2": Sample("text-encoder", "sdxl", lambda size: dict(_text("sdxl-2", size)), layout="diffusers", base="sdxl"),
    "vae": Sample("vae", "sd", lambda size: dict(_vae(size)), layout="diffusers", also=("sdxl",)),
    "vae-ldm": Sample("vae", "sd", ldm_vae(prefix=""), layout="ldm", also=("sdxl",), wrapper="state_dict"),
    "vae-ldm-prefixed": Sample("vae", "sd", ldm_vae(), layout="ldm", also=("sdxl",)),
    "taesd": Sample("tiny-autoencoder", "sd", taesd_diffusers, layout="diffusers", also=("sdxl",)),
    "taesd-encoder": Sample("tiny-autoencoder", "sd", taesd_part("encoder"), version="encoder", layout="author", also=("sdxl",), dtype="F32"),
    "taesd-decoder": Sample("tiny-autoencoder", "sd", taesd_part("decoder"), version="decoder", layout="author", also=("sdxl",), dtype="F32"),
    # Motion modules.
    "motion-v1": Sample("motion", "v1", authors_motion(rows=24), layout="authors", base="sd15"),
    "motion-v2": Sample("motion", "v2", authors_motion(mid=True), layout="authors", base="sd15", also=(*LIGHTNING, "longanimatediff")),
    "motion-v3": Sample("motion", "v3", authors_motion(), layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG),
    "motion-sdxl": Sample("motion", "sdxl-beta", authors_motion("sdxl"), layout="authors", base="sdxl", dtype="F32"),
    "motion-lcm": Sample("motion", "animatelcm", authors_motion(rows=None, mid=True), version="t2v", layout="authors", base="sd15", also=("v2",)),
    "motion-lcm-i2v": Sample("motion", "animatelcm-i2v", animatelcm_i2v, version="i2v", layout="authors", base="sd15"),
    "motion-lightning": Sample("motion", "v2", authors_motion(mid=True), layout="authors", base="sd15", also=(*LIGHTNING, "longanimatediff")),
    "motion-lightning-diffusers": Sample("motion", "v2", diffusers_motion(mid=True), layout="diffusers", base="sd15", also=(*LIGHTNING, "animatelcm")),
    "motion-hotshot": Sample("motion", "hotshot-xl", hotshot_motion, layout="hotshot", base="sdxl"),
    "motion-long": Sample("motion", "longanimatediff", authors_motion(rows=64, mid=True), layout="authors", base="sd15"),
    "motion-pia": Sample("motion", "pia", pia, layout="authors", base="sd15", wrapper="state_dict"),
    "motion-v1-diffusers": Sample("motion", "v1", diffusers_motion(rows=24), layout="diffusers", base="sd15"),
    "motion-v2-diffusers": Sample("motion", "v2", diffusers_motion(mid=True), layout="diffusers", base="sd15", also=(*LIGHTNING, "animatelcm")),
    "motion-v3-diffusers": Sample("motion", "v3", diffusers_motion(), layout="diffusers", base="sd15"),
    "motion-sdxl-diffusers": Sample("motion", "sdxl-beta", diffusers_motion("sdxl"), layout="diffusers", base="sdxl"),
    "motion-ours": Sample("motion", "v3", our_motion, layout="ours", base="sd15", metadata=_OURS),
    "motion-trained": Sample("motion", "v3", whole_unet_ddp, layout="authors", base="sd15", version="training checkpoint", dtype="F32", wrapper="state_dict", extra={"epoch": 3, "global_step": 100}, also=("v1",)),
    # Low-rank files.
    "domain-adapter": Sample("adapter", "v3", domain_adapter, layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG, rank=128),
    "domain-adapter-diffusers": Sample("adapter", "v3", lambda size: processor_names(_attention_layers("sd15", size), rank=128, prefix="unet."), layout="diffusers", base="sd15", rank=128),
    "domain-adapter-kohya": Sample("adapter", "v3", lambda size: kohya(_attention_layers("sd15", size), rank=128, alpha=False), layout="kohya", base="sd15", rank=128),
    "motion-lora-v2": Sample("motion-lora", "v2", motion_lora(), layout="authors", base="sd15", wrapper="state_dict", extra=_CONFIG, rank=64),
    "motion-lora-diffusers": Sample("motion-lora", "v2", motion_lora_diffusers, layout="diffusers", base="sd15", rank=64),
    "motion-lora-kohya": Sample("motion-lora", "v2", motion_lora_kohya, layout="kohya", base="sd15", rank=64),
    "motion-lora-peft": Sample("motion-lora", "v3", motion_lora_peft, layout="peft", base="sd15", rank=32, also=("v1",)),
    "motion-director": Sample("motion-lora", "v2", motion_director, version="motiondirector", layout="authors", base="sd15", rank=32),
    "lora-sd15": Sample("lora", "sd15", kohya_lora("sd15"), version="lora", layout="kohya", base="sd15", rank=16),
    "lora-sd2": Sample("lora", "sd2", kohya_lora("sd2"), version="lora", layout="kohya", base="sd2", rank=16),
    "lora-sdxl": Sample("lora", "sdxl", kohya_lora("sdxl"), version="lora", layout="kohya", base="sdxl", rank=16),
    "lora-sdxl-sgm": Sample("lora", "sdxl", sgm_lora, version="lora", layout="kohya-sgm", base="sdxl", rank=16),
    "locon": Sample("lora", "sd15", kohya_lora("sd15", conv=True), version="locon", layout="kohya", base="sd15", rank=16),
    "loha": Sample("lora", "sd15", loha, version="loha", layout="kohya", base="sd15", rank=8),
    "lokr": Sample("lora", "sd15", lokr, version="lokr", layout="kohya", base="sd15", rank=8),
    "dora": Sample("lora", "sd15", dora, version="dora", layout="kohya", base="sd15", rank=16),
    "oft": Sample("lora", "sd15", oft, version="oft", layout="kohya", base="sd15"),
    "ia3": Sample("lora", "sd15", ia3, version="ia3", layout="kohya", base="sd15"),
    "full-diff": Sample("lora", "sd15", full_diff, version="full-diff", layout="kohya", base="sd15"),
    "lora-peft": Sample("lora", "sd15", lambda size: dotted_names(_attention_layers("sd15", size), rank=4, prefix="unet.", words=("lora_A", "lora_B")), version="lora", layout="peft", base="sd15", rank=4),
    "lora-peft-raw": Sample("lora", "sdxl", lambda size: dotted_names(_attention_layers("sdxl", size), rank=4, prefix="base_model.model.", words=("lora_A", "lora_B")), version="lora", layout="peft", base="sdxl", rank=4),
    "lora-diffusers": Sample("lora", "sd15", lambda size: dotted_names(_attention_layers("sd15", size), rank=4, prefix="unet.", words=("lora.down", "lora.up")), version="lora", layout="diffusers", base="sd15", rank=4),
    "lora-diffusers-old": Sample("lora", "sd15", lambda size: processor_names(_attention_layers("sd15", size), rank=4, prefix="unet."), version="lora", layout="diffusers", base="sd15", rank=4),
    "lora-lcm": Sample("lora", "sd15", kohya_lora("sd15", rank=64, text=False), version="lora", layout="kohya", base="sd15", rank=64),
    "lora-ours": Sample("lora", "sd15", our_lora, version="lora", layout="ours", base="sd15", rank=16, metadata={"rank": "16", "alpha": "16"}),
    # Control.
    "sparse-rgb": Sample("sparse-control", "v3", sparse_control("rgb"), version="rgb", layout="authors", base="sd15", dtype="F32", wrapper="controlnet", extra=_CONFIG),
    "sparse-scribble": Sample("sparse-control", "v3", sparse_control("scribble"), version="scribble", layout="authors", base="sd15", dtype="F32", wrapper="controlnet", extra=_CONFIG),
    "sparse-rgb-diffusers": Sample("sparse-control", "v3", sparse_control_diffusers("rgb"), version="rgb", layout="diffusers", base="sd15"),
    "sparse-scribble-diffusers": Sample("sparse-control", "v3", sparse_control_diffusers("scribble"), version="scribble", layout="diffusers", base="sd15"),
    "controlnet": Sample("controlnet", "sd15", controlnet("sd15"), layout="diffusers", base="sd15"),
    "controlnet-ldm": Sample("controlnet", "sd15", ldm_controlnet, layout="ldm", base="sd15", wrapper="state_dict"),
    "controlnet-sdxl": Sample("controlnet", "sdxl", controlnet("sdxl"), layout="diffusers", base="sdxl"),
    "ip-adapter": Sample("ip-adapter", "sd15", ip_adapter("sd15"), layout="authors", base="sd15", wrapper="nested"),
    "ip-adapter-sdxl": Sample("ip-adapter", "sdxl", ip_adapter("sdxl"), layout="authors", base="sdxl", wrapper="nested"),
    # Textual inversions.
    "embedding-a1111": Sample("embedding", "sd15", always({"emb_params": (4, 768)}), layout="a1111", base="sd15", dtype="F32"),
    "embedding-a1111-pickle": Sample("embedding", "sd15", always({"string_to_param.*": (4, 768)}), layout="a1111", base="sd15", dtype="F32", wrapper="a1111-embedding", extra=_EMBEDDING),
    "embedding-sd2": Sample("embedding", "sd2", always({"emb_params": (8, 1024)}), layout="a1111", base="sd2", dtype="F32"),
    "embedding-sdxl": Sample("embedding", "sdxl", always({"clip_l": (4, 768), "clip_g": (4, 1280)}), layout="sdxl", base="sdxl"),
    "embedding-diffusers": Sample("embedding", "sd15", always({"<fox>": (768,)}), layout="diffusers", base="sd15", dtype="F32"),
}  # fmt: skip
"""Every published kind of file, by a name of ours."""


# --- Writing -----------------------------------------------------------------------------------


def dtype_of(name: str, sample: Sample) -> str:
    """The dtype of one tensor; numbers of positions are whole numbers."""
    return "I64" if name.endswith(("position_ids", "num_updates")) else sample.dtype


def header_bytes(table: Mapping[str, Any]) -> bytes:
    """A safetensors header, whatever the table says."""
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write_header(
    path: Path, specs: Mapping[str, tuple[str, Shape]], metadata: Mapping[str, str]
) -> Path:
    """A safetensors file whose numbers are a hole of the right size."""
    table: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    here = 0
    for name, (dtype, shape) in specs.items():
        end = here + math.prod(shape) * BITS[dtype] // 8
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [here, end]}
        here = end
    header = header_bytes(table)
    with path.open("wb") as file:
        file.write(header)
        file.truncate(len(header) + here)
    return path


@functools.cache
def shapes_of(name: str, size: Size = "real") -> Mapping[str, Shape]:
    """Every name and shape of a sample."""
    return SAMPLES[name].shapes(size)


def write_sparse(path: Path, name: str, *, size: Size = "real") -> Path:
    """A sample's safetensors file at its real size, taking no space on the disk; all zeros."""
    sample = SAMPLES[name]
    specs = {key: (dtype_of(key, sample), shape) for key, shape in shapes_of(name, size).items()}
    return write_header(path, specs, sample.metadata)


def tensors(name: str, *, size: Size = "small", seed: int = 0) -> dict[str, Tensor]:
    """A sample's tensors with random numbers, norms around one; the same for the same seed."""
    sample = SAMPLES[name]
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, Tensor] = {}
    for key, shape in shapes_of(name, size).items():
        dtype = DTYPES[dtype_of(key, sample)]
        if key.endswith("position_ids"):
            made[key] = torch.arange(shape[-1]).expand(shape).clone()
        elif key.endswith((".pe", ".positional_encoding")):
            made[key] = sinusoid(*shape[1:])[None].to(dtype)
        elif not dtype.is_floating_point:
            made[key] = torch.zeros(shape, dtype=dtype)
        else:
            values = torch.randn(shape, generator=generator) * 0.05
            is_gain = "norm" in key and key.endswith("weight") and len(shape) == 1
            made[key] = (values + 1 if is_gain else values).to(dtype)
    return made


def sinusoid(rows: int, width: int) -> Tensor:
    """The positional encoding of published files: sines and cosines, interleaved."""
    angles = torch.arange(rows)[:, None] * torch.exp(
        torch.arange(0, width, 2) * (-math.log(10000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def write(path: Path, name: str, *, size: Size = "small", seed: int = 0) -> Path:
    """A sample's safetensors file with random numbers."""
    metadata = dict(SAMPLES[name].metadata) or None
    save_file(tensors(name, size=size, seed=seed), path, metadata=metadata)
    return path


def wrapped(name: str, weights: Mapping[str, Tensor]) -> dict[str, Any]:
    """What a sample's pickle holds: its table of tensors, and whatever is around it."""
    sample = SAMPLES[name]
    match sample.wrapper:
        case "plain":
            return {**weights, **sample.extra}
        case "state_dict" | "ddp":
            return {"state_dict": dict(weights), **sample.extra}
        case "controlnet":
            return {"controlnet": dict(weights), **sample.extra}
        case "nested":
            table: dict[str, Any] = dict(sample.extra)
            for key, tensor in weights.items():
                part, _, rest = key.partition(".")
                table.setdefault(part, {})[rest] = tensor
            return table
        case "a1111-embedding":
            return {**sample.extra, "string_to_param": {"*": weights["string_to_param.*"]}}


def write_pickle(
    path: Path, name: str, *, size: Size = "small", seed: int = 0, old: bool = False
) -> Path:
    """A sample as the pickle that is published; ``old`` is the format before zip files."""
    content = wrapped(name, tensors(name, size=size, seed=seed))
    torch.save(content, path, _use_new_zipfile_serialization=not old)  # noqa: TID251 - what others wrote
    return path


def write_folder(
    folder: Path, base: str, *, size: Size = "small", seed: int = 0, fp16: bool = False
) -> Path:
    """An image model's diffusers folder, ``sd15``, ``sd2`` or ``sdxl``, without its tokenizer.

    At the real size its numbers are holes. The weights are those of ``tensors`` under the names of
    the parts ``unet-*``, ``vae`` and ``text-*``, so that they can be compared.
    """
    xl = base == "sdxl"
    texts = {"text_encoder": "sd15" if xl else base} | ({"text_encoder_2": "sdxl-2"} if xl else {})
    parts = {"unet": f"unet-{base}", "vae": "vae"}
    parts |= {part: f"text-{which}" for part, which in texts.items()}
    configs = {"unet": unet_config(base, size), "vae": vae_config(base, size)}
    configs |= {part: text_config(which, size) for part, which in texts.items()}
    classes = {"unet": "UNet2DConditionModel", "vae": "AutoencoderKL"}
    index: dict[str, Any] = {
        "_class_name": "StableDiffusionXLPipeline" if xl else "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "scheduler": ["diffusers", "DDIMScheduler"],
    }
    for part, sample in parts.items():
        is_text = part.startswith("text")
        index[part] = ["transformers", "CLIPTextModel"] if is_text else ["diffusers", classes[part]]
        (folder / part).mkdir(parents=True)
        config = configs[part] | ({} if is_text else {"_class_name": classes[part]})
        (folder / part / "config.json").write_text(json.dumps(config))
        stem = "model" if is_text else "diffusion_pytorch_model"
        file = folder / part / f"{stem}{'.fp16' if fp16 else ''}.safetensors"
        if size == "real":
            write_sparse(file, sample)
        else:
            write(file, sample, seed=seed)
    (folder / "scheduler").mkdir()
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(betas))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def write_adapter_folder(folder: Path, name: str, *, size: Size = "small") -> Path:
    """A diffusers MotionAdapter's folder: the weights and what its configuration says."""
    sample = SAMPLES[name]
    rows = {"v1": 24}.get(sample.family, 32)
    mid = any(key.startswith("mid_block.") for key in shapes_of(name, size))
    config = adapter_config(sample.base, size, rows=rows, mid=mid)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"_class_name": "MotionAdapter", **config}))
    writer = write_sparse if size == "real" else write
    writer(folder / "diffusion_pytorch_model.safetensors", name, size=size)
    return folder
