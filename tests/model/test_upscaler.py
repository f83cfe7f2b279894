"""The compact upscaler: its names are Real-ESRGAN's, and fresh it repeats pixels."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from animatediff.errors import FileError
from animatediff.model.upscalers.compact import CompactUpscaler


def test_names_and_shapes_are_those_of_real_esrgan_compact_files() -> None:
    weights = CompactUpscaler(channels=64, layers=16, scale=4).state_dict()
    assert weights["body.0.weight"].shape == (64, 3, 3, 3)
    assert weights["body.1.weight"].shape == (64,)
    assert weights["body.34.weight"].shape == (48, 64, 3, 3)
    assert len(weights) == 18 * 2 + 17
    assert sum(w.numel() for w in CompactUpscaler().parameters()) < 1_000_000


@pytest.mark.parametrize(("channels", "layers", "scale"), [(16, 2, 2), (32, 8, 4)])
def test_the_network_is_told_from_its_weights(channels: int, layers: int, scale: int) -> None:
    network = CompactUpscaler(channels=channels, layers=layers, scale=scale).eval()
    again = CompactUpscaler.of_weights(network.state_dict())
    picture = torch.rand(1, 3, 9, 7)
    assert again(picture).shape == (1, 3, 9 * scale, 7 * scale)
    assert torch.equal(again(picture), network(picture))


def test_a_last_layer_of_zeros_repeats_every_pixel() -> None:
    network = CompactUpscaler(channels=8, layers=1, scale=2)
    last = network.body[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
    assert last.bias is not None
    nn.init.zeros_(last.bias)
    picture = torch.rand(1, 3, 3, 3)
    repeated = picture.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
    assert torch.equal(network(picture), repeated)


def test_weights_of_something_else_are_refused() -> None:
    with pytest.raises(FileError, match="compact upscaler"):
        CompactUpscaler.of_weights({"conv.weight": torch.zeros(3, 3, 3, 3)})
    weights = CompactUpscaler(channels=8, layers=2).state_dict()
    with pytest.raises(FileError, match="layers differ"):
        CompactUpscaler.of_weights({k: v for k, v in weights.items() if k != "body.3.weight"})
