"""Image prompts against diffusers' attention processors: animations, SDXL, and its U-Net alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import (
    StableDiffusionXLPipeline,
)
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from PIL import Image
from tests.parity.sdxl_parts import sdxl_parts
from tests.weights import synthetic
from tests.weights.tiny_ip_adapter import (
    FEATURES,
    ip_adapter_weights,
    new_projection,
    write_encoder,
)
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.image_prompts.attention import ImagePrompt, ImageTokens, load_branches
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.weights.convert import convert
from animatediff.weights.storage.files import write_weights

pytestmark = pytest.mark.usefixtures("latents_only")

FRAMES, STEPS, GUIDANCE, SEED, SIDE, SCALE = 3, 4, 7.5, 3, 64, 0.6


def load_into(unet: Any, weights: Mapping[str, Tensor]) -> None:
    """Give a U-Net diffusers' attention processors with these weights."""
    parts = {
        part: {k.removeprefix(f"{part}."): x for k, x in weights.items() if k.startswith(part)}
        for part in ("image_proj", "ip_adapter")
    }
    unet._load_ip_adapter_weights([parts])


def embeds_of(form: str, read: Any, pixels: np.ndarray) -> Tensor:
    """The image features without and with the picture, as diffusers' pipelines take them."""
    cpu = torch.device("cpu")
    if form == "base":
        with_image = read.pooled([pixels], device=cpu)
        return torch.stack([torch.zeros_like(with_image), with_image])
    return torch.stack([read.no_patches(device=cpu), read.patches([pixels], device=cpu)])


@pytest.mark.parametrize("form", ["base", "plus"])
def test_four_steps_with_an_image_prompt_end_as_in_diffusers_pipeline(
    form: str, small_world: Path, tmp_path: Path
) -> None:
    motion = {name: tensor.float() for name, tensor in synthetic.tensors("motion-v3").items()}
    write_weights(tmp_path / "motion.safetensors", motion, metadata={})
    unet = UNet2DConditionModel.from_pretrained(small_world / "unet")
    weights = ip_adapter_weights(form, unet, scale=0.2)
    write_weights(tmp_path / "ip.safetensors", weights, metadata={})
    encoder = write_encoder(tmp_path / "image_encoder")
    pixels = np.random.default_rng(1).integers(0, 256, (48, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    request = AnimationRequest(
        prompt="a fox",
        negative_prompt="an ox",
        model=str(small_world),
        motion=str(tmp_path / "motion.safetensors"),
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        guidance=GUIDANCE,
        scheduler="ddim",
        seed=SEED,
        numerics="diffusers",
        precision="fp32",
        ip_adapters=(f"{tmp_path / 'ip.safetensors'}:{SCALE}",),
        ip_images=(str(tmp_path / "a.png"),),
        image_encoder=str(encoder),
    )
    animator = Animator.for_request(request)
    ours = animator.animate(request).latents
    (read,) = animator.added["image-encoder"]
    adapter = convert(
        tmp_path / "motion.safetensors", tmp_path / "adapter", layout="diffusers", family="v3"
    ).path
    pipeline = AnimateDiffPipeline(
        vae=animator.base.vae,
        text_encoder=animator.base.text_encoder,
        tokenizer=animator.base.tokenizer,
        unet=unet,
        motion_adapter=MotionAdapter.from_pretrained(adapter),
        scheduler=DDIMScheduler(
            beta_schedule="linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            timestep_spacing="leading",
            steps_offset=1,
        ),
    )
    load_into(pipeline.unet, weights)
    pipeline.set_ip_adapter_scale(SCALE)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=encode_prompts(["a fox"], base=animator.base)[0].states,
        negative_prompt_embeds=encode_prompts(["an ox"], base=animator.base)[0].states,
        ip_adapter_image_embeds=[embeds_of(form, read, pixels)],
        num_frames=FRAMES,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=initial_noise(
            SEED, num_frames=FRAMES, channels=4, height=SIDE // 8, width=SIDE // 8
        ),
        output_type="latent",
    ).frames
    assert (ours - theirs).abs().max() < 1e-3
    bare = Animator.load(
        str(small_world), motion=str(tmp_path / "motion.safetensors"), numerics="diffusers"
    ).animate(
        "a fox", negative_prompt="an ox", num_frames=FRAMES, width=SIDE, height=SIDE, steps=STEPS,
        guidance=GUIDANCE, scheduler="ddim", seed=SEED,
    )  # fmt: skip
    assert (ours - bare.latents).abs().max() > 1e-2


@pytest.mark.parametrize("form", ["base", "plus", "full"])
def test_the_unet_of_sdxl_attends_to_a_picture_as_in_diffusers(form: str, small_xl: Path) -> None:
    """One frame, one pass. A block of SDXL has several attentions, so their numbering matters."""
    ours, theirs = (UNet2DConditionModel.from_pretrained(small_xl / "unet") for _ in range(2))
    weights = ip_adapter_weights(form, ours, scale=0.2)
    cross = int(ours.config["cross_attention_dim"])
    generator = torch.Generator().manual_seed(5)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    projection = new_projection(form, cross=cross)
    projection.load_state_dict(
        {k.removeprefix("image_proj."): x for k, x in weights.items() if k.startswith("image_proj")}
    )
    features = drawn(1, FEATURES) if form == "base" else drawn(1, 5, FEATURES)
    latents, text = drawn(1, 4, 8, 8), drawn(1, 7, cross)
    pooled = ours.config["projection_class_embeddings_input_dim"] - 6 * 8
    added = {"text_embeds": drawn(1, pooled), "time_ids": drawn(1, 6) * 100}
    load_into(theirs, weights)
    for processor in theirs.attn_processors.values():
        if hasattr(processor, "scale"):
            processor.scale = [SCALE]
    branches = load_branches(
        {
            k.removeprefix("ip_adapter."): x
            for k, x in weights.items()
            if k.startswith("ip_adapter")
        },
        ours,
        device=torch.device("cpu"),
    )
    with torch.inference_mode():
        wanted = theirs(
            latents, 601, text,
            added_cond_kwargs=added | {"image_embeds": [features[:, None]]}, return_dict=False,
        )[0]  # fmt: skip
        prompt, animated = ImagePrompt(ours, branches), AnimatedUNet(ours).eval()
        without = animated(latents[:, :, None], 601, text, added_cond_kwargs=added)
        prompt.images = ImageTokens(projection(features), torch.full((1,), SCALE))
        found = animated(latents[:, :, None], 601, text, added_cond_kwargs=added)
    assert (found[:, :, 0] - wanted).abs().max() < 1e-4
    assert (found - without).abs().max() > 1e-2


@pytest.mark.parametrize("form", ["base", "plus"])
def test_one_frame_of_sdxl_with_an_image_prompt_is_what_diffusers_pipeline_draws(
    form: str, small_xl: Path, tmp_path: Path
) -> None:
    unet = UNet2DConditionModel.from_pretrained(small_xl / "unet")
    weights = ip_adapter_weights(form, unet, scale=0.2)
    write_weights(tmp_path / "ip.safetensors", weights, metadata={})
    pixels = np.random.default_rng(1).integers(0, 256, (48, 40, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    request = AnimationRequest(
        prompt="a fox",
        negative_prompt="an ox",
        model=str(small_xl),
        motion="none",
        num_frames=1,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        guidance=GUIDANCE,
        scheduler="ddim",
        seed=SEED,
        precision="fp32",
        ip_adapters=(f"{tmp_path / 'ip.safetensors'}:{SCALE}",),
        ip_images=(str(tmp_path / "a.png"),),
        image_encoder=str(write_encoder(tmp_path / "image_encoder")),
    )
    animator = Animator.for_request(request)
    ours = animator.animate(request).latents
    (read,) = animator.added["image-encoder"]
    pipeline = StableDiffusionXLPipeline(**sdxl_parts(animator), unet=unet)
    load_into(pipeline.unet, weights)
    pipeline.set_ip_adapter_scale(SCALE)
    pipeline.set_progress_bar_config(disable=True)
    noise = initial_noise(SEED, num_frames=1, channels=4, height=SIDE // 8, width=SIDE // 8)
    theirs = pipeline(
        prompt="a fox",
        negative_prompt="an ox",
        ip_adapter_image_embeds=[embeds_of(form, read, pixels)],
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise[:, :, 0],
        output_type="latent",
    ).images
    bare = Animator.load(str(small_xl), motion="none").animate(
        replace(request, ip_adapters=(), ip_images=(), image_encoder="")
    )
    assert (ours[:, :, 0] - theirs).abs().max() < 1e-3
    assert (bare.latents - ours).abs().max() > 1e-2
