"""The names and shapes of IP-Adapters and tiny autoencoders."""

from __future__ import annotations

import re
from collections.abc import Callable

from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
from tests.weights.synthetic.image_models import (
    shapes_built,
    unet_config,
    unet_shapes,
)
from tests.weights.synthetic.sample import Shapes, Size
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection


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


def image_encoder(size: Size) -> Shapes:
    """CLIP's vision model with its projection, OpenCLIP's ViT-H/14 in transformers' names."""
    real = size == "real"
    config = CLIPVisionConfig(
        hidden_size=1280 if real else 64,
        intermediate_size=5120 if real else 64,
        num_hidden_layers=32 if real else 2,
        num_attention_heads=16 if real else 1,
        image_size=224,
        patch_size=14,
        projection_dim=1024 if real else 64,
    )
    return dict(shapes_built(lambda: CLIPVisionModelWithProjection(config)))


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
