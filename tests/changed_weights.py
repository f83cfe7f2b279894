"""Requests under which everything that changes weights is active: adapter, MotionLoRA and LoRA."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.domain_adapter import attach_domain_adapter
from animatediff.model.motion_lora import attach_motion_lora
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.storage.files import write_weights


def with_changed_weights(
    asked: AnimationRequest, over: str, *, animated: AnimatedUNet, lora: Path, folder: Path
) -> AnimationRequest:
    """The request with random weights of each kind; a LoRA takes no scale over frames.

    Args:
        asked: the request.
        over: the scale of each.
        animated: a model of the shapes that the request names, which gets branches.
        lora: a LoRA of its image model.
        folder: where the files are written.
    """
    torch.manual_seed(3)
    files: dict[str, Path] = {}
    made = {
        "adapter": attach_domain_adapter(animated.unet, rank=2),
        "motion": attach_motion_lora(animated, rank=2),
    }
    for name, branches in made.items():
        for weights in branches.parameters():
            torch.nn.init.normal_(weights, std=0.3)
        path = folder / f"{name}.safetensors"
        files[name] = write_weights(path, branches.state_dict(), metadata={})
    return replace(
        asked,
        adapter=f"{files['adapter']}:{over}",
        motion_loras=(f"{files['motion']}:{over}",),
        loras=(f"{lora}:{'0.5' if over.startswith('frames') else over}",),
    )
