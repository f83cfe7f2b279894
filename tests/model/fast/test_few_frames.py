"""Image layers of some frames at a time: equal to all at once, and as they are where frames matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.few_frames import few_frames
from animatediff.model.fast.text.cached_text import CachedText, cached_text_check
from animatediff.model.temporal_views import TemporalViews, View

FRAMES = 5
VIEWS = (View((0, 1, 2), (1.0, 2.0, 1.0)), View((2, 3, 4), (0.5, 1.0, 3.0)))


@torch.inference_mode()
def run(animated: AnimatedUNet, *, texts: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, FRAMES, 8, 8, generator=generator)
    text = torch.randn(texts, 5, 16, generator=generator)
    return animated(latents, torch.tensor([500, 300]), text)


def animated_on(unet: UNet2DConditionModel, **options: Any) -> AnimatedUNet:
    """A model whose motion modules do something."""
    animated = AnimatedUNet(unet, heads=4, **options).eval().requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for weight in animated.motion.parameters():
        weight.data += 0.1 * torch.randn(weight.shape, generator=generator)
    return animated


@pytest.fixture
def rows() -> list[int]:
    """How many frames were computed together by the first ResNet."""
    return []


def listening(animated: AnimatedUNet, rows: list[int]) -> None:
    inner = animated.unet.down_blocks[0].resnets[0]
    plain = inner.forward

    def forward(maps: Tensor, time: Tensor) -> Tensor:
        rows.append(len(maps))
        return plain(maps, time)

    inner.forward = forward


@pytest.mark.parametrize("within", [(), VIEWS])
@pytest.mark.parametrize("texts", [2, 2 * FRAMES])
def test_some_frames_at_a_time_equal_all_at_once(
    small_unet: Callable[..., UNet2DConditionModel],
    within: tuple[View, ...],
    texts: int,
    rows: list[int],
) -> None:
    animated = animated_on(small_unet())
    views = TemporalViews(animated)
    views.views = within
    whole = run(animated, texts=texts)
    listening(animated, rows)
    few = few_frames(animated, together=2)
    made = run(animated, texts=texts)
    assert (made - whole).abs().max() < 1e-5 * whole.abs().max()
    # A slice holds frames of one clip.
    assert rows == [2, 2, 1, 2, 2, 1]
    few.remove()
    assert torch.equal(run(animated, texts=texts), whole)


def test_frames_of_a_clip_share_the_text_that_is_kept(
    small_unet: Callable[..., UNet2DConditionModel],
) -> None:
    animated = animated_on(small_unet())
    whole = run(animated)
    animated.unet.set_attn_processor(CachedText())
    animated.shares_text = cached_text_check(animated.unet)
    few_frames(animated, together=2)
    made = run(animated)
    assert (made - whole).abs().max() < 1e-5 * whole.abs().max()


def test_a_layer_with_something_attached_inside_sees_all_frames(
    small_unet: Callable[..., UNet2DConditionModel],
) -> None:
    animated = animated_on(small_unet())
    seen: list[int] = []
    inside = animated.unet.down_blocks[0].attentions[0].transformer_blocks[0].attn2.to_q
    inside.register_forward_hook(lambda _layer, inputs, _made: seen.append(len(inputs[0])))
    few_frames(animated, together=2)
    run(animated)
    assert seen == [2 * FRAMES]


def test_norms_over_all_frames_are_computed_as_they_are(
    small_unet: Callable[..., UNet2DConditionModel],
    rows: list[int],
) -> None:
    animated = animated_on(small_unet(), resnet_norm_scope="video")
    listening(animated, rows)
    few_frames(animated, together=2)
    run(animated)
    assert rows == [2 * FRAMES]
