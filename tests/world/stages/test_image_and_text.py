"""The image model and its text encoder learn together; words hold the meaning they had."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel

from animatediff.runtime import seeded
from animatediff.training.lessons.clips import ClipBatch
from animatediff.training.lessons.denoiser import TextEmbedder
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.weights.image_model.tokenizer import clip_tokenizer
from animatediff.world.stages.image_and_text import ImageAndTextLesson
from animatediff.world.stages.image_stages import still_lesson
from animatediff.world.stages.latents import LatentClips


@pytest.fixture
def lesson() -> ImageAndTextLesson:
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        block_out_channels=(32,),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    tokenizer = clip_tokenizer()
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    encoder = CLIPTextModel(config).requires_grad_(False).eval()
    meta = [{"label": w, "tags": [], "style_phrase": "flat style"} for w in ("fox", "pizza")]
    frames = torch.randn(2, 4, 8, 8, generator=seeded("latents")).half()
    clips = LatentClips(frames, torch.arange(2), torch.ones(2, dtype=torch.long), meta)
    text = TextEmbedder(tokenizer, encoder)
    denoising = still_lesson(unet, text, clips)
    return ImageAndTextLesson(denoising, text, ["fox", "pizza", "a red fox"], held_at_once=4)


def batch_of(lesson: ImageAndTextLesson) -> ClipBatch:
    return lesson.fetch(torch.tensor([0, 1]), seeded("batch"))


def test_nothing_drifts_before_the_first_step(lesson: ImageAndTextLesson):
    terms = lesson.losses(batch_of(lesson), seeded("step"))
    assert float(terms["drift"].detach()) == pytest.approx(0, abs=1e-6)


def test_image_and_text_learn_and_the_embeddings_stay(lesson: ImageAndTextLesson, tmp_path: Path):
    before = {name: p.detach().clone() for name, p in lesson.learns.named_parameters()}
    options = Recipe(steps=3, batch_size=2, learning_rate=1e-2, warmup=1, precision="fp32")
    train(lesson, options, tmp_path)
    changed = {n for n, p in lesson.learns.named_parameters() if not torch.equal(p, before[n])}
    embeddings = lesson.text_encoder.get_input_embeddings().weight
    frozen = {n for n, p in lesson.learns.named_parameters() if p is embeddings}
    assert frozen
    assert not changed & frozen
    assert any(name.startswith("text_encoder.") for name in changed)
    assert any(name.startswith("unet.") for name in changed)
    drift = lesson.losses(batch_of(lesson), seeded("step"))["drift"]
    assert float(drift.detach()) > 0
