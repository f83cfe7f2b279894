"""The parts of a loaded SDXL model, as diffusers' pipelines take them."""

from __future__ import annotations

from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler

from animatediff.sampling.animator import Animator


def sdxl_parts(animator: Animator) -> dict[str, Any]:
    """What a pipeline of diffusers takes beside the U-Net, with the sampler ``ddim``."""
    base, betas = animator.base, animator.family.betas
    return {
        "vae": base.vae,
        "text_encoder": base.text_encoder,
        "text_encoder_2": base.text_encoder_2,
        "tokenizer": base.tokenizer,
        "tokenizer_2": base.tokenizer_2,
        "scheduler": DDIMScheduler(
            beta_schedule=betas.schedule,
            beta_start=betas.start,
            beta_end=betas.end,
            clip_sample=False,
            timestep_spacing="leading",
            steps_offset=1,
        ),
        "add_watermarker": False,
    }
