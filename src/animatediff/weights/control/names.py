"""Where a ControlNet's file has each tensor: by its authors' names, or by diffusers'."""

from __future__ import annotations

import re
from collections.abc import Callable

from animatediff.weights.image_model.single_file import UNET, unet_sources

STEM = "controlnet_cond_embedding"
PREFIX = "control_model."
"""What the authors' files have before every name; copies of them often do without."""

FileName = Callable[[str], str]
"""The name in a file of one of diffusers' names."""

_STEM_PLACES = {"conv_in": 0, **{f"blocks.{i}": 2 * i + 2 for i in range(6)}, "conv_out": 14}
"""In a single file the stem's activations are numbered as well, so its convolutions are even."""


def ldm_names(*, layers_per_block: int, prefix: str) -> FileName:
    """Names as the authors of ControlNet wrote them, after ``prefix``."""

    def named(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        if module.startswith(f"{STEM}."):
            place = _STEM_PLACES[module.removeprefix(f"{STEM}.")]
            return f"{prefix}input_hint_block.{place}.{leaf}"
        if module == "controlnet_mid_block":
            return f"{prefix}middle_block_out.0.{leaf}"
        if match := re.fullmatch(r"controlnet_down_blocks\.(\d+)", module):
            return f"{prefix}zero_convs.{match[1]}.0.{leaf}"
        source = unet_sources([name], layers_per_block=layers_per_block)[name]
        return prefix + source.name.removeprefix(UNET)

    return named


def diffusers_names(name: str) -> str:
    """Names as diffusers writes them."""
    return name
