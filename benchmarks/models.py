"""Stable Diffusion 1.5's U-Net with motion modules, ours and diffusers', with random weights.

Weights depend on their names alone, so both implementations get the same ones. The motion modules' norm
is taken over the clip, as diffusers computes it, so that outputs can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.models.unets.unet_motion_model import UNetMotionModel
from torch import Tensor, nn

from animatediff.model import AnimatedUNet
from animatediff.model.motion_module import frame_positions
from animatediff.runtime import seeded
from animatediff.weights.names.layouts import motion_name

CONFIG = Path(__file__).parents[1] / "tests" / "model" / "configs" / "sd15_unet.json"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
DRAWN = (1 << 20) + 7
"""How many different random numbers there are; no power of two, so that rows differ."""
Implementation = Literal["ours", "diffusers"]


def make(implementation: Implementation, *, width: float = 1.0) -> nn.Module:
    """The model without storage, frozen except for its motion modules.

    Args:
        implementation: whose code.
        width: channels, relative to Stable Diffusion's.
    """
    config: dict[str, Any] = json.loads(CONFIG.read_text())
    channels = tuple(int(c * width) for c in config["block_out_channels"])
    with torch.device("meta"):
        if implementation == "diffusers":
            model = UNetMotionModel(
                block_out_channels=channels,
                cross_attention_dim=config["cross_attention_dim"],
                num_attention_heads=config["attention_head_dim"],
                use_motion_mid_block=False,
            )
            model.freeze_unet2d_params()
            return model
        config["block_out_channels"] = channels
        unet = UNet2DConditionModel(**config)
        return AnimatedUNet(unet.requires_grad_(False), norm_scope="video", device="meta")


def fill(model: nn.Module, dtype: torch.dtype) -> None:
    """Give the model storage, and weights that depend only on their names.

    Numbers are drawn once and repeated from another place for each name, as drawing 1.3 billion takes
    longer than a step.
    """
    model.to(dtype).to_empty(device="cpu")
    drawn = torch.randn(DRAWN, generator=seeded("weights"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            ours = our_name(name)
            if parameter.ndim > 1:
                start = int(torch.randint(DRAWN, (1,), generator=seeded("weight", ours)))
                numbers = (drawn.roll(start) * parameter[0].numel() ** -0.5).to(dtype)
                for block in parameter.view(-1).split(DRAWN):
                    block.copy_(numbers[: len(block)])
            else:
                parameter.fill_(float("norm" in ours and ours.endswith("weight")))
        for name, table in model.named_buffers():
            assert name.endswith(".pe"), name
            table.copy_(frame_positions(table.shape[1], table.shape[2])[None])


def our_name(name: str) -> str:
    """The name of a parameter in our model, from its name in either implementation."""
    known = None if name.startswith("unet.") else motion_name(name.removeprefix("motion."))
    if known is not None:
        return f"motion.{known.ours}"
    return f"unet.{name.removeprefix('unet.')}"


def share_weights(model: nn.Module, source: nn.Module) -> None:
    """Let a model without storage use another implementation's parameters, without a copy."""
    dtype = next(source.parameters()).dtype
    weights = {our_name(name): parameter for name, parameter in source.named_parameters()}
    shared = {name: weights[our_name(name)] for name, _ in model.named_parameters()}
    device = next(source.parameters()).device
    tables = {
        name: frame_positions(table.shape[1], table.shape[2])[None].to(device, dtype)
        for name, table in model.named_buffers()
    }
    model.load_state_dict(shared | tables, assign=True)


def predict(
    model: nn.Module,
    *,
    size: int,
    frames: int,
    dtype: torch.dtype,
    guidance: bool = False,
    device: torch.device | None = None,
) -> Callable[[], Tensor]:
    """The forward pass of one clip of random latents.

    Args:
        model: of either implementation.
        size: pixels of a side.
        frames: of the clip.
        dtype: of the latents and the text.
        guidance: predict twice in one batch, with and without a prompt.
        device: of the latents and the text; the model's if ``None``.
    """
    device = next(model.parameters()).device if device is None else device
    given = arguments(size=size, frames=frames, dtype=dtype, guidance=guidance)
    latents, timestep, text = (each.to(device) for each in given)
    if isinstance(model, AnimatedUNet):
        return lambda: model(latents, timestep, text)
    texts = text.repeat_interleave(frames, dim=0)
    return lambda: model(latents, timestep, texts, return_dict=False)[0]


def arguments(
    *, size: int, frames: int, dtype: torch.dtype, guidance: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Random latents of a clip, a timestep and a random text, which is the same for every frame.

    Args:
        size: pixels of a side.
        frames: of the clip.
        dtype: of the latents and the text.
        guidance: a clip and a text with and one without a prompt.
    """
    rows = 2 if guidance else 1
    latents = torch.randn(1, 4, frames, size // 8, size // 8, generator=seeded("latents"))
    latents = latents.to(dtype).repeat(rows, 1, 1, 1, 1)
    text = torch.randn(rows, 77, 768, generator=seeded("text")).to(dtype)
    return latents, torch.tensor([500]), text
