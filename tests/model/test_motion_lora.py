"""MotionLoRA: where it sits, how large it is, and that several add up."""

import pytest
import torch

from animatediff.errors import InputError
from animatediff.model import AnimatedUNet, attach_motion_lora


@pytest.mark.parametrize(
    ("mid", "rank", "layers", "parameters"),
    [
        (True, 64, "attention", 302_080 * 64),
        (False, 2, "attention", 281_600 * 2),
        (True, 2, "all", 641_920 * 2),
        (False, 2, "all", 598_400 * 2),
    ],
)
def test_a_motion_lora_has_the_published_size(mid, rank, layers, parameters, real_unet):
    lora = attach_motion_lora(AnimatedUNet(real_unet("sd15"), mid=mid), rank=rank, layers=layers)
    assert sum(p.numel() for p in lora.parameters()) == parameters


@pytest.fixture
def animated(small_unet, randomised):
    model = AnimatedUNet(small_unet())
    randomised(model.motion)
    return model


def test_two_motion_loras_compose_in_any_order(animated, inputs, randomised):
    results = []
    for order in ((1, 2), (2, 1)):
        loras = [
            randomised(attach_motion_lora(animated, rank=2, scale=seed / 2), seed=seed)
            for seed in order
        ]
        results.append(animated(**inputs))
        for lora in loras:
            lora.remove()
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)


def test_half_of_a_motion_lora_twice_is_the_whole(animated, inputs, randomised):
    lora = randomised(attach_motion_lora(animated, rank=2))
    expected = animated(**inputs)
    lora.scale = 0.5
    randomised(attach_motion_lora(animated, rank=2, scale=0.5))
    torch.testing.assert_close(animated(**inputs), expected, atol=1e-4, rtol=1e-4)


def test_a_motion_lora_that_is_fresh_silent_or_removed_changes_nothing(
    animated, inputs, randomised
):
    expected = animated(**inputs)
    lora = attach_motion_lora(animated, rank=2)
    assert torch.equal(animated(**inputs), expected)
    randomised(lora)
    assert not torch.allclose(animated(**inputs), expected, atol=1e-2)
    lora.scale = 0.0
    assert torch.equal(animated(**inputs), expected)
    lora.scale = 1.0
    lora.remove()
    assert torch.equal(animated(**inputs), expected)


def test_motion_weights_keep_their_names_under_a_motion_lora(animated):
    before = animated.motion_state_dict()
    of_attention, of_all = (
        attach_motion_lora(animated, rank=2, layers=layers).state_dict()
        for layers in ("attention", "all")
    )
    assert list(animated.motion_state_dict()) == list(before)
    names = {name.removesuffix(".down.weight").removesuffix(".up.weight") for name in of_all}
    matrices = {name for name, weight in before.items() if weight.ndim == 2}
    assert {f"{name}.weight" for name in names} == matrices
    assert of_attention.keys() < of_all.keys()
    assert "up_1_0.transformer_blocks.0.attention_blocks.1.to_out.0.up.weight" in of_attention
    assert all(".attention_blocks." in name for name in of_attention)


@pytest.mark.parametrize("layers", ["attention", "all"])
def test_only_the_motion_lora_gets_gradients(layers, animated, inputs):
    animated.requires_grad_(False)
    lora = attach_motion_lora(animated, rank=2, layers=layers)
    animated(**inputs).square().mean().backward()
    grads = {name: p.grad for name, p in lora.named_parameters()}
    assert all(g.isfinite().all() for g in grads.values())
    flowing = ("to_v", "ff.net", "proj_in", "proj_out")
    assert all(g.any() for k, g in grads.items() if ".up." in k and any(f in k for f in flowing))
    assert all(p.grad is None for p in animated.parameters())


def test_the_convolutional_rival_takes_no_motion_lora(small_unet):
    animated = AnimatedUNet(small_unet(), branch="convolution")
    for layers in ("attention", "all"):
        with pytest.raises(InputError, match="this model's motion is TemporalConv"):
            attach_motion_lora(animated, rank=2, layers=layers)
