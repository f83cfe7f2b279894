"""Models and folders small enough to draw in a blink, in the layout of the real ones, at random."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.weights.synthetic.tokenizer import write_tokenizer
from transformers.models.clip.configuration_clip import CLIPConfig, CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPModel, CLIPTextModel

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import LowRankSet, attention_projections
from animatediff.weights.storage.files import write_weights

WIDTH = 32
"""Of the text encoder's states, and of the first block of the U-Net."""


def new_unet() -> UNet2DConditionModel:
    """Stable Diffusion's blocks, tiny: 4x4 latents, one block with attention and one without."""
    return UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(WIDTH, 2 * WIDTH),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )


def new_vae() -> AutoencoderKL:
    """Eight times smaller, four latent channels, as Stable Diffusion's."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        mid_block_add_attention=False,
    )


def new_text_encoder(vocabulary: int) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=vocabulary,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        projection_dim=WIDTH,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    return CLIPTextModel(config)


def write_json(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def write_world(folder: Path) -> Path:
    """Write a diffusers folder with random weights, drawn from a fixed seed."""
    torch.manual_seed(0)
    new_unet().save_pretrained(folder / "unet")
    new_vae().save_pretrained(folder / "vae")
    vocabulary = write_tokenizer(folder / "tokenizer")
    new_text_encoder(vocabulary).save_pretrained(folder / "text_encoder")
    scheduler = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012}
    write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
    write_json(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    return folder


def write_clip(folder: Path) -> Path:
    """Write CLIP's folder with random weights of both encoders."""
    vocabulary = write_tokenizer(folder)
    small = {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    text = small | {
        "vocab_size": vocabulary,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    vision = small | {"image_size": 32, "patch_size": 16}
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    return folder


def new_motion(*, seed: int = 1, mid: bool = False) -> AnimatedUNet:
    """Make a tiny animated U-Net whose motion modules already say something."""
    torch.manual_seed(seed)
    animated = AnimatedUNet(new_unet(), mid=mid)
    for weights in animated.motion.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    return animated


def write_lora(path: Path) -> Path:
    """Write a LoRA of rank 2 that fits ``write_world`` and changes what it draws."""
    torch.manual_seed(2)
    branches = LowRankSet(attention_projections(new_unet()), rank=2)
    for weights in branches.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    return write_weights(path, branches.state_dict(), metadata={"rank": "2", "alpha": "2"})
