"""Weights wait elsewhere, come for one layer at a time, and what is computed stays the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from tests.second_memory import TwoMemories
from torch import nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.fast.replaced import Replaced
from animatediff.model.offload import Offload, layers_of, weights_of


@pytest.fixture
def animated(
    small_unet: Callable[..., UNet2DConditionModel], randomised: Callable[[nn.Module], nn.Module]
) -> AnimatedUNet:
    model = AnimatedUNet(small_unet())
    randomised(model.motion)
    return model.eval().requires_grad_(False)


def test_an_animated_unet_computes_the_same_one_layer_at_a_time(
    animated: AnimatedUNet, inputs: dict[str, Any]
) -> None:
    with torch.inference_mode():
        plain = animated(**inputs)
    layers = list(layers_of([animated]))
    largest = max(sum(weight.nbytes for weight in weights_of(layer)) for layer in layers)
    before = [weight.data_ptr() for layer in layers for weight in weights_of(layer)]
    with TwoMemories(animated.parameters()) as memories, torch.inference_mode():
        with pytest.raises(AssertionError, match="which wait"):
            animated(**inputs)
        offload = Offload([animated], bring=memories.bring)
        assert torch.equal(animated(**inputs), plain)
        offload.remove()
    assert memories.brought == len(before) == len(list(animated.parameters()))
    assert memories.most <= largest
    assert memories.here == 0
    assert [weight.data_ptr() for layer in layers for weight in weights_of(layer)] == before
    assert not any("forward" in vars(layer) for layer in animated.modules())


def test_what_fails_leaves_the_weights_where_they_wait(animated: AnimatedUNet) -> None:
    layer = animated.unet.conv_in
    at = layer.weight.data_ptr()
    offload = Offload([animated], bring=torch.clone)
    with pytest.raises(RuntimeError, match="channels"):
        layer(torch.zeros(1, 7, 8, 8))
    assert layer.weight.data_ptr() == at
    offload.remove()


def test_it_keeps_how_a_layer_was_replaced_before() -> None:
    layer = nn.Linear(2, 2)
    replaced = Replaced()
    replaced.put(layer, lambda tokens: tokens @ layer.weight)
    tokens = torch.ones(1, 2)
    plain = layer(tokens)
    offload = Offload([layer], bring=torch.clone)
    assert torch.equal(layer(tokens), plain)
    offload.remove()
    assert torch.equal(layer(tokens), plain)


def test_torchs_own_attention_gets_all_of_its_weights() -> None:
    attention = nn.MultiheadAttention(8, 2).eval().requires_grad_(False)
    tokens = torch.randn(3, 1, 8)
    with torch.inference_mode():
        plain, _ = attention(tokens, tokens, tokens, need_weights=False)
        with TwoMemories(attention.parameters()) as memories:
            offload = Offload([attention], bring=memories.bring)
            found, _ = attention(tokens, tokens, tokens, need_weights=False)
            offload.remove()
    assert torch.equal(found, plain)
    assert memories.here == 0


def test_a_layer_that_networks_share_is_brought_once() -> None:
    shared = nn.Linear(2, 2)
    assert list(layers_of([nn.Sequential(shared, nn.ReLU()), nn.Sequential(shared)])) == [shared]
