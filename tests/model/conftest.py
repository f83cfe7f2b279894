"""Small seeded U-Nets, and the real configurations on the meta device."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

CONFIGS = Path(__file__).parent / "configs"

SMALL = {
    "sample_size": 8,
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 1,
    "cross_attention_dim": 16,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}
LIKE_SDXL = {
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "block_out_channels": (32, 64),
    "transformer_layers_per_block": (1, 2),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 64,
}


@pytest.fixture
def small_unet() -> Callable[..., UNet2DConditionModel]:
    """A frozen image U-Net with random weights, the same at every call."""

    def build(*, sdxl: bool = False) -> UNet2DConditionModel:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            unet = UNet2DConditionModel(**{**SMALL, **(LIKE_SDXL if sdxl else {})})
            randomise(unet, std=0.1)
        return unet.eval().requires_grad_(False)

    return build


@pytest.fixture
def real_unet() -> Callable[[str], UNet2DConditionModel]:
    """``sd15`` or ``sdxl`` at its real size, without storage."""

    def build(name: str) -> UNet2DConditionModel:
        config: Mapping[str, Any] = json.loads((CONFIGS / f"{name}_unet.json").read_text())
        with torch.device("meta"):
            return UNet2DConditionModel(**config)

    return build


@pytest.fixture
def inputs() -> dict[str, Any]:
    """Two clips of five frames, and what conditions them."""
    generator = torch.Generator().manual_seed(1)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    return {
        "latents": draw(2, 4, 5, 8, 8),
        "timestep": torch.tensor([3, 700]),
        "encoder_hidden_states": draw(2, 7, 16),
    }


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Gives a module weights none of which is zero, so that nothing hides."""

    def give(module: nn.Module, *, seed: int = 2, std: float = 0.2) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            randomise(module, std=std)
        return module

    return give


def randomise(module: nn.Module, *, std: float) -> None:
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.normal_(std=std)
            if "norm" in name and name.endswith("weight"):
                parameter.add_(1)


@pytest.fixture
def reference() -> Any:
    """The plain-torch reference of the motion module."""
    spec = importlib.util.spec_from_file_location("reference", CONFIGS.parent / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
