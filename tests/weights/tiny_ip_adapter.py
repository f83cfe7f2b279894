"""IP-Adapters and an image encoder of a few channels, with the published names."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.tiny_models import WIDTH
from torch import Tensor, nn
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

from animatediff.model.image_prompts.attention import cross_attentions
from animatediff.model.image_prompts.projections import LinearProjection, PatchProjection, Resampler

FEATURES = 128
"""Of a hidden state and of the pooled embedding alike, so that one encoder fits every form."""

ENCODER = CLIPVisionConfig(
    hidden_size=FEATURES,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=2,
    image_size=28,
    patch_size=14,
    projection_dim=FEATURES,
    hidden_act="quick_gelu",
)


def new_projection(form: str, *, cross: int = WIDTH) -> nn.Module:
    """The projection of a form, random."""
    if form == "base":
        return LinearProjection(FEATURES, cross=cross, tokens=4)
    if form == "full":
        return PatchProjection(FEATURES, cross=cross)
    return Resampler(FEATURES, cross=cross, width=128, heads=2, depth=4, tokens=16)


def ip_adapter_weights(
    form: str, unet: UNet2DConditionModel, *, seed: int = 0, scale: float = 1.0
) -> dict[str, Tensor]:
    """All numbers of an IP-Adapter for a U-Net."""
    torch.manual_seed(seed)
    cross = int(unet.config["cross_attention_dim"])
    projection = new_projection(form, cross=cross)
    weights = {f"image_proj.{name}": x for name, x in projection.state_dict().items()}
    for index, host in enumerate(cross_attentions(unet)):
        for name in ("to_k_ip", "to_v_ip"):
            numbers = torch.randn(host.inner_dim, cross) * scale
            weights[f"ip_adapter.{2 * index + 1}.{name}.weight"] = numbers
    return weights


def write_encoder(folder: Path) -> Path:
    """An image encoder as transformers writes it."""
    torch.manual_seed(7)
    CLIPVisionModelWithProjection(ENCODER).eval().save_pretrained(folder)
    return folder
