"""SDXL through the animator: two text encoders, and the size of the picture as a condition."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import (
    StableDiffusionXLPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tests.tiny_models import WIDTH, new_vae, write_json
from tests.weights.synthetic.tokenizer import write_tokenizer
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

from animatediff.runtime import Runtime
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise

pytestmark = pytest.mark.usefixtures("latents_only")

SIDE = 32


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SDXL's folder, tiny, with random weights."""
    folder = tmp_path_factory.mktemp("tiny-sdxl")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=(WIDTH, 2 * WIDTH),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=2 * WIDTH,
        attention_head_dim=(2, 4),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + 16,
    )
    unet.save_pretrained(folder / "unet")
    new_vae().save_pretrained(folder / "vae")
    words = write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2")
    path = folder / "tokenizer_2" / "tokenizer_config.json"
    write_json(path, json.loads(path.read_text()) | {"pad_token": "!"})
    config = CLIPTextConfig(
        vocab_size=words,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=16,
        bos_token_id=words - 2,
        eos_token_id=words - 1,
        pad_token_id=words - 1,
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    CLIPTextModelWithProjection(config).save_pretrained(folder / "text_encoder_2")
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    write_json(folder / "scheduler" / "scheduler_config.json", betas)
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    write_json(folder / "model_index.json", index)
    return folder


@pytest.mark.parametrize("negative", ["", "an ox"])
def test_a_frame_is_what_diffusers_own_pipeline_draws(world: Path, negative: str) -> None:
    animator = Animator.load(str(world), motion="none", runtime=Runtime(device="cpu"))
    base = animator.base
    request = AnimationRequest(
        prompt="a fox, an fox",
        negative_prompt=negative,
        model=str(world),
        motion="none",
        num_frames=1,
        steps=3,
        guidance=4.0,
        scheduler="ddim",
        seed=3,
    )
    scheduler = DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        timestep_spacing="leading",
        steps_offset=1,
    )
    pipeline = StableDiffusionXLPipeline(
        vae=base.vae,
        text_encoder=base.text_encoder,
        text_encoder_2=base.text_encoder_2,
        tokenizer=base.tokenizer,
        tokenizer_2=base.tokenizer_2,
        unet=base.unet,
        scheduler=scheduler,
        add_watermarker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = initial_noise(3, num_frames=1, channels=4, height=SIDE // 8, width=SIDE // 8)
    theirs = pipeline(
        prompt=request.prompt,
        negative_prompt=negative or None,
        height=SIDE,
        width=SIDE,
        num_inference_steps=3,
        guidance_scale=4.0,
        latents=noise[:, :, 0],
        output_type="latent",
    ).images
    ours = animator.animate(request).latents[:, :, 0]
    assert (ours - theirs).abs().max() < 1e-4


def test_the_size_of_the_picture_and_the_whole_text_count(world: Path) -> None:
    animator = Animator.load(str(world), motion="none", runtime=Runtime(device="cpu"))
    request = AnimationRequest(
        prompt="a fox", model=str(world), motion="none", num_frames=2, steps=1, guidance=1.0
    )
    plain = animator.animate(request)
    assert plain.latents.shape == (1, 4, 2, 4, 4)
    with torch.no_grad():
        animator.base.text_encoder_2.text_projection.weight.mul_(-1)  # pyright: ignore[reportOptionalMemberAccess]
    assert not torch.allclose(animator.animate(request).latents, plain.latents)
    both = replace(request, prompts={"0": "", "1": ""}, guidance=3.0, negative_prompt="an ox")
    same = animator.animate(replace(both, prompts={}))
    assert torch.allclose(animator.animate(both).latents, same.latents, atol=1e-6)
    travelling = animator.animate(replace(both, prompts={"0": "", "1": "asleep"}))
    assert torch.allclose(travelling.latents[:, :, 0], same.latents[:, :, 0], atol=1e-6)
    assert not torch.allclose(travelling.latents[:, :, 1], same.latents[:, :, 1])
    wide = animator.animate(replace(request, width=64))
    assert wide.latents.shape == (1, 4, 2, 4, 8)
