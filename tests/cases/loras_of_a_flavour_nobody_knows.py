"""A LoRA whose pieces have names of a flavour that is not known, each beside an alpha that is."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file


def write(path: Path, stem: str, *, known: bool) -> Path:
    """One module of an unknown flavour, and if ``known`` a low-rank pair on the layer ``stem``."""
    weights = {"lora_unet_mid_block_x.new_flavour": torch.ones(4, 4)}
    weights["lora_unet_mid_block_x.alpha"] = torch.ones(())
    if known:
        weights[f"{stem}.lora_down.weight"] = torch.ones(2, 768)
        weights[f"{stem}.lora_up.weight"] = torch.ones(64, 2)
        weights[f"{stem}.alpha"] = torch.ones(())
    save_file(weights, path)
    return path
