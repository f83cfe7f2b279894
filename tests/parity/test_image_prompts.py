"""A whole animation under an image prompt, against the pipeline of diffusers with one picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from PIL import Image
from tests.weights import synthetic
from tests.weights.tiny_ip_adapter import ip_adapter_weights, write_encoder

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.weights.convert import convert
from animatediff.weights.storage.files import write_weights

FRAMES, STEPS, GUIDANCE, SEED, SIDE, SCALE = 3, 10, 7.5, 3, 64, 0.6


@pytest.mark.parametrize("form", ["base", "plus"])
def test_ten_steps_with_an_image_prompt_end_as_in_diffusers_pipeline(
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
    if form == "base":
        with_image = read.pooled([pixels])
        embeds = torch.stack([torch.zeros_like(with_image), with_image])
    else:
        embeds = torch.stack([read.no_patches(), read.patches([pixels])])
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
    parts = {
        part: {k.removeprefix(f"{part}."): x for k, x in weights.items() if k.startswith(part)}
        for part in ("image_proj", "ip_adapter")
    }
    pipeline.unet._load_ip_adapter_weights([parts])  # pyright: ignore[reportPrivateUsage]
    pipeline.set_ip_adapter_scale(SCALE)
    pipeline.set_progress_bar_config(disable=True)
    theirs = pipeline(
        prompt_embeds=encode_prompts(["a fox"], base=animator.base)[0].states,
        negative_prompt_embeds=encode_prompts(["an ox"], base=animator.base)[0].states,
        ip_adapter_image_embeds=[embeds],
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
