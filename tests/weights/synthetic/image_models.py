"""The image models' names and shapes: U-Nets, text encoders, autoencoders, and single files of all."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping
from typing import Any

from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.weights.synthetic.sample import Shape, Shapes, Size
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from animatediff.model.without_values import without_values

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


def shapes_built(build: Callable[[], nn.Module]) -> tuple[tuple[str, Shape], ...]:
    with without_values():
        return tuple((name, tuple(t.shape)) for name, t in build().state_dict().items())


@functools.cache
def unet_shapes(base: str, size: Size) -> Mapping[str, Shape]:
    return dict(shapes_built(lambda: UNet2DConditionModel(**unet_config(base, size))))


@functools.cache
def vae_shapes(size: Size) -> Mapping[str, Shape]:
    return dict(shapes_built(lambda: AutoencoderKL(**vae_config("sd15", size))))


@functools.cache
def text_shapes(which: str, size: Size) -> Mapping[str, Shape]:
    """Names as published: nested in ``text_model``, which newer transformers do without."""
    cls = CLIPTextModelWithProjection if which == "sdxl-2" else CLIPTextModel
    shapes = shapes_built(lambda: cls(CLIPTextConfig(**text_config(which, size))))
    return {
        name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": s
        for name, s in shapes
    }


def unet(base: str) -> Callable[[Size], Shapes]:
    """A U-Net in diffusers' layout."""
    return lambda size: dict(unet_shapes(base, size))


def ldm_unet(base: str, *, prefix: str = "model.diffusion_model.") -> Callable[[Size], Shapes]:
    """A U-Net in the layout of single files."""
    return lambda size: {
        prefix + ldm_unet_name(name, set(unet_shapes(base, size))): shape
        for name, shape in unet_shapes(base, size).items()
    }


def ldm_vae(*, prefix: str = "first_stage_model.") -> Callable[[Size], Shapes]:
    """An autoencoder in the layout of single files, whose attention is a convolution."""

    def shapes(size: Size) -> Shapes:
        renamed: Shapes = {}
        for name, shape in vae_shapes(size).items():
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


def with_prefix(shapes: Mapping[str, Shape], prefix: str) -> Shapes:
    return {prefix + name: shape for name, shape in shapes.items()}


def single_file(base: str) -> Callable[[Size], Shapes]:
    """A whole image model in one file, as ``v1-5-pruned-emaonly`` and what descends from it."""

    def shapes(size: Size) -> Shapes:
        whole = ldm_unet(base)(size) | ldm_vae()(size)
        if base in ("sd15", "inpainting"):
            prefix = "cond_stage_model.transformer."
            whole |= with_prefix(text_shapes("sd15", size), prefix)
            whole[f"{prefix}text_model.embeddings.position_ids"] = (1, 77)
            whole |= dict.fromkeys(_SCHEDULE, (1000,)) | {"model_ema.decay": ()}
        elif base == "sd2":
            whole |= open_clip("sd2", size, prefix="cond_stage_model.model.")
            whole |= dict.fromkeys(_SCHEDULE, (1000,))
        else:
            whole |= with_prefix(text_shapes("sd15", size), "conditioner.embedders.0.transformer.")
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
