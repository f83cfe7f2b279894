"""Stable Diffusion 1.5 and SDXL at a tenth of their width, each with tiny text and pictures."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.tiny_models import WIDTH, write_json
from tests.weights import synthetic
from tests.weights.synthetic.tokenizer import write_tokenizer
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

POOLED = 16


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    """Stable Diffusion 1.5's four blocks."""
    folder = tmp_path_factory.mktemp("small-world") / "world"
    shutil.copytree(tiny_world, folder)
    shutil.rmtree(folder / "unet")
    torch.manual_seed(0)
    config = synthetic.unet_config("sd15", "small") | {"cross_attention_dim": WIDTH}
    UNet2DConditionModel(**config).save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="session")
def small_xl(tmp_path_factory: pytest.TempPathFactory, tiny_world: Path) -> Path:
    """SDXL's three blocks and its two text encoders."""
    folder = tmp_path_factory.mktemp("small-xl") / "world"
    shutil.copytree(tiny_world, folder)
    for part in ("unet", "tokenizer", "text_encoder"):
        shutil.rmtree(folder / part)
    torch.manual_seed(0)
    config = synthetic.unet_config("sdxl", "small") | {
        "cross_attention_dim": 2 * WIDTH,
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 6 * 8 + POOLED,
    }
    UNet2DConditionModel(**config).save_pretrained(folder / "unet")
    words = write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2")
    path = folder / "tokenizer_2" / "tokenizer_config.json"
    write_json(path, json.loads(path.read_text()) | {"pad_token": "!"})
    text = CLIPTextConfig(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=POOLED,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(text).save_pretrained(folder / "text_encoder_2")
    write_json(
        folder / "model_index.json",
        {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True},
    )
    return folder
