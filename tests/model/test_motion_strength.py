"""Factors of motion modules: of the keys, and of what is added."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_module import TemporalAttention
from animatediff.model.motion_strength import Factors, MotionStrength

FRAMES = 3


@pytest.fixture
def animated(new_motion: Callable[..., AnimatedUNet]) -> AnimatedUNet:
    return new_motion()


def run(animated: AnimatedUNet) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(2, 4, FRAMES, 4, 4, generator=generator)
    text = torch.randn(2, 5, 32, generator=generator)
    with torch.no_grad():
        return animated(latents, 500, text)


def everywhere(value: float) -> Tensor:
    return torch.full((FRAMES, 1, 1), value)


def test_ones_change_nothing_and_removing_restores_the_model(animated: AnimatedUNet) -> None:
    plain = run(animated)
    strength = MotionStrength(animated)
    assert torch.equal(run(animated), plain)
    ones = Factors(everywhere(1.0), everywhere(1.0))
    strength.factors = dict.fromkeys(animated.motion, ones)
    assert torch.equal(run(animated), plain)
    strength.factors = dict.fromkeys(animated.motion, Factors(everywhere(2.0), everywhere(0.5)))
    assert not torch.allclose(run(animated), plain, atol=1e-3)
    strength.remove()
    assert torch.equal(run(animated), plain)


def test_an_effect_of_zero_is_the_image_model(animated: AnimatedUNet) -> None:
    strength = MotionStrength(animated)
    strength.factors = dict.fromkeys(animated.motion, Factors(everywhere(3.0), everywhere(0.0)))
    still = run(animated)
    strength.remove()
    animated.set_motion_scale(0.0)
    assert torch.equal(still, run(animated))


def test_an_effect_is_a_scale_of_every_graft(animated: AnimatedUNet) -> None:
    strength = MotionStrength(animated)
    strength.factors = dict.fromkeys(animated.motion, Factors(everywhere(1.0), everywhere(0.4)))
    made = run(animated)
    strength.remove()
    animated.set_motion_scale(0.4)
    assert torch.allclose(made, run(animated), atol=1e-5)


def test_keys_are_multiplied_in_every_temporal_attention(animated: AnimatedUNet) -> None:
    """The same as weights of the keys that are larger by the factor."""
    strength = MotionStrength(animated)
    strength.factors = dict.fromkeys(animated.motion, Factors(everywhere(1.7), everywhere(1.0)))
    made = run(animated)
    strength.remove()
    for layer in animated.motion.modules():
        if isinstance(layer, TemporalAttention):
            layer.to_k.weight.data *= 1.7
    assert torch.allclose(made, run(animated), atol=1e-5)


def test_one_site_a_frame_and_a_mask_are_reached_by_themselves(animated: AnimatedUNet) -> None:
    """The last site is seen in the result: what it adds changes only where the mask says."""
    added: list[Tensor] = []
    site = list(animated.motion)[-1]
    strength = MotionStrength(animated)
    handle = animated.motion[site].register_forward_hook(lambda _m, _i, out: added.append(out))
    run(animated)
    mask = torch.zeros(FRAMES, 32, 32)
    mask[1, :, :16] = 1
    strength.factors = {site: Factors(everywhere(1.0), 1 - mask)}
    run(animated)
    handle.remove()
    strength.remove()
    plain, masked = (each.unflatten(0, (2, FRAMES)) for each in added)
    assert torch.equal(masked[:, [0, 2]], plain[:, [0, 2]])
    half = plain.shape[-1] // 2
    assert torch.equal(masked[:, 1, :, :, half:], plain[:, 1, :, :, half:])
    assert (masked[:, 1, :, :, :half] == 0).all()
