"""Five steps of DDIM, from noise to pictures, against diffusers' own AnimateDiffPipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import MotionAdapter
from diffusers.pipelines.animatediff.pipeline_animatediff import AnimateDiffPipeline
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tests.weights import synthetic

from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.sampling.steps.noise import initial_noise
from animatediff.sampling.text.prompts import encode_prompts
from animatediff.weights.convert import convert
from animatediff.weights.storage.files import write_weights

FRAMES, STEPS, GUIDANCE, SEED, SIDE = 3, 5, 7.5, 3, 64


@pytest.mark.parametrize(
    "version",
    [
        "motion-v2",
        pytest.param("motion-v1", marks=pytest.mark.slow),
        pytest.param("motion-v3", marks=pytest.mark.slow),
        pytest.param("motion-lcm", marks=pytest.mark.slow),
    ],
)
def test_five_steps_of_ddim_end_as_in_diffusers_pipeline(
    tmp_path: Path, small_world: Path, version: str
) -> None:
    weights = {name: tensor.float() for name, tensor in synthetic.tensors(version).items()}
    motion = write_weights(tmp_path / "motion.safetensors", weights, metadata={})
    request = AnimationRequest(
        prompt="a fox",
        negative_prompt="an ox",
        model=str(small_world),
        motion=str(motion),
        numerics="diffusers",
        num_frames=FRAMES,
        width=SIDE,
        height=SIDE,
        steps=STEPS,
        guidance=GUIDANCE,
        scheduler="ddim",
        seed=SEED,
        precision="fp32",
    )
    animator = Animator.load(str(small_world), motion=str(motion), numerics="diffusers")
    ours = animator.animate(request)
    folder = convert(motion, tmp_path / "adapter", layout="diffusers").path
    pipeline = AnimateDiffPipeline(
        vae=animator.base.vae,
        text_encoder=animator.base.text_encoder,
        tokenizer=animator.base.tokenizer,
        unet=UNet2DConditionModel.from_pretrained(small_world / "unet"),
        motion_adapter=MotionAdapter.from_pretrained(folder),
        scheduler=DDIMScheduler(
            beta_schedule="linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            timestep_spacing="leading",
            steps_offset=1,
        ),
    )
    pipeline.set_progress_bar_config(disable=True)
    noise = initial_noise(SEED, num_frames=FRAMES, channels=4, height=SIDE // 8, width=SIDE // 8)
    theirs = pipeline(
        prompt_embeds=encode_prompts(["a fox"], base=animator.base)[0].states,
        negative_prompt_embeds=encode_prompts(["an ox"], base=animator.base)[0].states,
        num_frames=FRAMES,
        height=SIDE,
        width=SIDE,
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        latents=noise,
        output_type="latent",
    ).frames
    assert ours.latents.std() > 0.5
    assert (ours.latents - theirs).abs().max() < 1e-3
    with torch.inference_mode():
        pictures = pipeline.decode_latents(theirs).permute(0, 2, 3, 4, 1)[0]
    pixels = (pictures / 2 + 0.5).clamp(0, 1).numpy() * 255
    assert np.abs(pixels - ours.video.frames).max() <= 0.75  # half a level is rounding
