"""Attention along the frames in pieces is attention along the frames, however large scores are."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from animatediff.model.clip import Clip
from animatediff.model.fast import temporal_attention
from animatediff.model.fast.temporal_attention import attend_in_pieces
from animatediff.model.motion_module import TemporalAttention


def attended(tokens: Tensor, *, frames: int, dtype: torch.dtype, in_pieces: bool) -> Tensor:
    torch.manual_seed(0)
    clip = Clip()
    clip.num_frames = frames
    layer = TemporalAttention(24, heads=3, clip=clip).to(dtype).requires_grad_(False)
    replaced = attend_in_pieces(nn.ModuleList([layer])) if in_pieces else None
    assert replaced is None or len(replaced) == 1
    with torch.inference_mode():
        return layer(tokens.to(dtype)).double()


@pytest.mark.parametrize("size", [1.0, 30.0, 1000.0])
@pytest.mark.parametrize("frames", [1, 3, 8, 20])
@pytest.mark.parametrize("piece", [1, 1 << 12, 1 << 20])
def test_pieces_are_no_farther_from_exact_than_the_whole(
    piece: int, frames: int, size: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporal_attention, "PIECE", piece)
    tokens = size * torch.randn(2 * frames, 10, 24, generator=torch.Generator().manual_seed(1))
    exact = attended(tokens, frames=frames, dtype=torch.float64, in_pieces=False)
    off = [
        float(
            (attended(tokens, frames=frames, dtype=torch.bfloat16, in_pieces=each) - exact).norm()
        )
        for each in (False, True)
    ]
    assert off[1] <= 1.1 * off[0]


@pytest.mark.parametrize("largest", [1.0, 59.0, 61.0, 500.0])
def test_softmax_is_exact_whether_scores_are_large_or_not(largest: float) -> None:
    scores = torch.randn(50, 4, 8, generator=torch.Generator().manual_seed(0))
    scores *= largest / scores.abs().max()
    exact = scores.double().softmax(-1)
    assert float((temporal_attention._softmax(scores) - exact).abs().max()) < 1e-5


def test_gradients_are_those_of_the_plain_layer() -> None:
    layer = TemporalAttention(24, heads=3, clip=Clip()).bfloat16()
    layer.clip.num_frames = 4
    tokens = torch.randn(4, 10, 24).bfloat16()
    found: list[Tensor] = []
    for in_pieces in (False, True):
        if in_pieces:
            attend_in_pieces(nn.ModuleList([layer]))
        layer.zero_grad()
        layer(tokens).square().sum().backward()
        assert layer.to_q.weight.grad is not None
        found.append(layer.to_q.weight.grad.clone())
    assert torch.equal(*found)
