"""The control networks in the package fit the built-in model, steer it, and are small."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

from animatediff.model.control.network import Question
from animatediff.weights.control.file import read_control
from animatediff.weights.control.plan import plan_control
from animatediff.weights.finding.builtin import BUILTIN, list_models, resolve
from animatediff.weights.storage.files import read_header

NAMES = [listed.name for listed in list_models() if listed.kind == "control"]
MOST_BYTES = 6_000_000


def test_edges_and_shapes_are_among_them() -> None:
    assert {"edges", "shape"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_built_in_network_is_small_and_steers_the_built_in_model(name: str) -> None:
    path = resolve("control", name)
    assert path == Path(BUILTIN / "control" / f"{name}.safetensors")
    assert path.stat().st_size <= MOST_BYTES
    unet = UNet2DConditionModel.from_pretrained(BUILTIN / "emoji" / "unet", local_files_only=True)
    plan = plan_control(read_control(path), unet)
    assert plan.notes == ()
    network = plan.load(torch.float32, torch.device("cpu"))
    latents = torch.randn(2, 12, 16, 16, generator=torch.Generator().manual_seed(0))
    pixels = read_header(path).metadata["kind"] == "controlnet"
    hints = torch.zeros(2, 3, 128, 128) if pixels else torch.zeros(2, 12, 16, 16)
    text = torch.zeros(2, 77, 192)
    with torch.inference_mode():
        question = Question(latents, torch.tensor([800, 800]), text, {}, 2)
        changed = hints.clone()
        changed[:, :, 4:9] = 1
        dark, lines = (
            network(question, tuple(each[:2] for each in network.embed(given)))
            for given in (hints, changed)
        )
    difference = max((a - b).abs().max() for a, b in zip(dark.skips, lines.skips, strict=True))
    assert difference > 0.05
