"""GroupNorms in plain layout compute what they computed, and only where that is faster."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from animatediff.model.fast.plain_norms import plain_norms


def layers_of(dtype: torch.dtype) -> nn.Sequential:
    """Norms with weights of their own around a convolution, channels last."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.GroupNorm(4, 12), nn.Conv2d(12, 8, 3, padding=1), nn.GroupNorm(2, 8))
    for weight in layers.parameters():
        nn.init.normal_(weight)
    return layers.to(dtype, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue, reportArgumentType]


def images(dtype: torch.dtype, *, side: int = 6) -> Tensor:
    """A batch of maps, channels last."""
    drawn = torch.randn(3, 12, side, side, generator=torch.Generator().manual_seed(1))
    return drawn.to(dtype).contiguous(memory_format=torch.channels_last)


def test_they_compute_the_same_until_they_are_removed() -> None:
    layers, seen = layers_of(torch.bfloat16), images(torch.bfloat16)
    with torch.inference_mode():
        before = layers(seen)
        replaced = plain_norms(layers)
        assert len(replaced) == 2
        between = layers(seen)
        replaced.remove()
        assert torch.equal(layers(seen), before)
    exact = layers.float()(seen.float())
    assert (between.float() - exact).abs().mean() <= 1.1 * (before.float() - exact).abs().mean()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_where_nothing_is_slow_nothing_is_replaced(dtype: torch.dtype) -> None:
    assert len(plain_norms(layers_of(dtype))) == 0


@pytest.mark.parametrize(("side", "plain"), [(31, True), (32, False)])
def test_large_maps_stay_as_they_are_laid_out(side: int, plain: bool) -> None:
    norm = nn.GroupNorm(4, 12).to(torch.bfloat16)
    plain_norms(norm)
    with torch.inference_mode():
        assert norm(images(torch.bfloat16, side=side)).is_contiguous() == plain
