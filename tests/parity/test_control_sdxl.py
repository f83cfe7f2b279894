"""A ControlNet on SDXL: one frame is what diffusers' own pipeline draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.controlnet.pipeline_controlnet_sd_xl import (
    StableDiffusionXLControlNetPipeline,
)
from PIL import Image
from tests.parity.sdxl_parts import sdxl_parts

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.weights.storage.files import write_weights

SIDE, STEPS, GUIDANCE, SEED, SCALE = 64, 10, 5.0, 3, 0.7


def test_one_frame_is_what_diffusers_pipeline_draws(small_xl: Path, tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(small_xl / "unet")
    torch.manual_seed(1)
    net = ControlNetModel.from_unet(unet).eval()
    with torch.no_grad():
        for parameter in net.parameters():  # the zero convolutions too
            parameter.add_(torch.randn_like(parameter) * 0.03)
    write_weights(tmp_path / "net.safetensors", net.state_dict(), metadata={})
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "hint.png")
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
        controls=(f"{tmp_path / 'net.safetensors'}:{SCALE}",),
        control_inputs=(str(tmp_path / "hint.png"),),
    )
    animator = Animator.for_request(request)
    ours = animator.animate(request).latents
    pipeline = StableDiffusionXLControlNetPipeline(
        **sdxl_parts(animator), unet=unet, controlnet=net
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = initial_noise(SEED, num_frames=1, channels=4, height=SIDE // 8, width=SIDE // 8)
    theirs = pipeline(
        prompt="a fox",
        negative_prompt="an ox",
        image=Image.fromarray(pixels),
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        controlnet_conditioning_scale=SCALE,
        latents=noise[:, :, 0],
        output_type="latent",
    ).images
    bare = Animator.load(str(small_xl), motion="none").animate(
        AnimationRequest(**{**vars(request), "controls": (), "control_inputs": ()})
    )
    assert (bare.latents - ours).abs().max() > 1e-2
    assert (ours[:, :, 0] - theirs).abs().max() < 1e-3
