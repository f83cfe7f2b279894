"""The denoising lesson: what it learns changes, what it does not learn stays, windows loop."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors.torch import save_file
from torch import Tensor, nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.grafts.low_rank import LowRankSet, attention_projections
from animatediff.runtime import seeded
from animatediff.training.lessons.clips import ClipLesson, ReadClips
from animatediff.training.lessons.denoiser import frame_by_frame
from animatediff.training.lessons.objective import alphas_bar
from animatediff.training.recipe import Recipe
from animatediff.training.runs.trainer import train
from animatediff.world.stages.image_stages import never_encoded
from animatediff.world.stages.latents import LatentClips, chosen, read_latents


def words(captions: list[str]) -> Tensor:
    """A stand-in for the text encoder: each caption's own constant state."""
    return torch.stack([torch.full((3, 16), len(c) / 10) for c in captions])


@pytest.fixture
def clips() -> LatentClips:
    lengths = torch.tensor([5, 1, 20])
    meta = [
        {"label": f"thing {i}", "tags": [], "style_phrase": "flat style", "frames": int(n)}
        for i, n in enumerate(lengths)
    ]
    frames = torch.randn(26, 4, 8, 8, generator=seeded("latents")).half()
    frames[:5] += torch.arange(5.0).reshape(5, 1, 1, 1) * 100
    return LatentClips(frames, lengths.cumsum(0) - lengths, lengths, meta)


def small_unet() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(32, 32),
        layers_per_block=1,
        cross_attention_dim=16,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def hashes(module: nn.Module) -> dict[str, float]:
    return {name: float(p.detach().double().abs().sum()) for name, p in module.named_parameters()}


Build = Callable[[UNet2DConditionModel], tuple[nn.Module, Any, int]]


def image(unet: UNet2DConditionModel) -> tuple[nn.Module, Any, int]:
    return unet, frame_by_frame(unet), 1


def motion(unet: UNet2DConditionModel) -> tuple[nn.Module, Any, int]:
    animated = AnimatedUNet(unet.requires_grad_(False))
    return animated.motion, animated, 4


def lora(unet: UNet2DConditionModel) -> tuple[nn.Module, Any, int]:
    grafts = LowRankSet(attention_projections(unet.requires_grad_(False)), rank=2)
    return grafts, frame_by_frame(unet), 1


@pytest.mark.parametrize("build", [image, motion, lora])
def test_each_stage_changes_only_what_it_learns(
    build: Build, clips: LatentClips, tmp_path: Path
) -> None:
    unet = small_unet()
    learns, predict, frames = build(unet)
    lesson = ClipLesson(
        learns,
        predict,
        words,
        never_encoded,
        ReadClips(clips, frames),
        alphas_bar(start=0.00085, end=0.012),
        min_snr=5.0,
    )
    before, base = hashes(learns), hashes(unet)
    options = Recipe(steps=3, batch_size=2, learning_rate=1e-2, warmup=1, precision="fp32")
    learned = train(lesson, options, tmp_path)
    after = hashes(learns)
    assert learned.keys() == {n for n, p in learns.named_parameters() if p.requires_grad}
    assert any(before[n] != after[n] for n in before)
    if learns is not unet:
        assert hashes(unet) == base


def test_windows_go_round_the_end_of_a_clip_and_repeat_a_still(clips: LatentClips) -> None:
    loop = clips.footage(0, num_frames=16, generator=seeded(1)).latents(seeded(2))
    marks = (loop.mean((1, 2, 3)) / 100).round().int().tolist()
    assert all((b - a) % 5 == 1 for a, b in pairwise(marks))
    still = clips.footage(1, num_frames=3, generator=seeded(1)).latents(seeded(2))
    assert torch.equal(still[0], still[2])


def test_a_share_of_the_captions_is_dropped(clips: LatentClips) -> None:
    seen: list[str] = []

    def listen(captions: list[str]) -> Tensor:
        seen.extend(captions)
        return words(captions)

    unet = small_unet()
    lesson = ClipLesson(
        unet,
        lambda z, t, c: z * next(unet.parameters()).mean(),
        listen,
        never_encoded,
        ReadClips(clips, 1),
        alphas_bar(start=0.00085, end=0.012),
        null_text=0.3,
    )
    for step in range(60):
        batch = lesson.fetch(torch.tensor([0, 1, 2, 0, 1]), seeded("batch", step))
        lesson.losses(batch, seeded(step))
    assert 0.2 < seen.count("") / len(seen) < 0.4


def test_latents_are_read_back_and_chosen_without_copying(
    clips: LatentClips, tmp_path: Path
) -> None:
    path = tmp_path / "latents.safetensors"
    save_file({"frames": clips.frames}, path, metadata={"meta": json.dumps(clips.meta)})
    back = read_latents(path)
    assert torch.equal(back.frames, clips.frames)
    assert torch.equal(back.starts, clips.starts)
    some = chosen(back, (m["label"] != "thing 1" for m in back.meta))
    assert len(some) == 2
    assert some.frames is back.frames
