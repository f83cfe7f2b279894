"""A MotionLoRA acts at the timesteps that it learned at, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.motion_lora import MotionLora
from animatediff.sampling.acting import acting
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.weights.files import write_weights


@pytest.fixture(scope="module")
def pattern(
    tmp_path_factory: pytest.TempPathFactory, new_motion: Callable[..., AnimatedUNet]
) -> Callable[[int], str]:
    """Files of the same MotionLoRA that say from which timestep up it learned."""
    folder = tmp_path_factory.mktemp("patterns")
    lora = MotionLora(new_motion(), rank=2, layers="all")
    torch.manual_seed(4)
    for weights in lora.parameters():
        nn.init.normal_(weights, std=0.5)

    def write(first: int) -> str:
        path = folder / f"from-{first}.safetensors"
        metadata = {"min_timestep": str(first)} if first else {}
        return str(write_weights(path, lora.state_dict(), metadata=metadata))

    return write


@pytest.fixture
def drawn(
    request_of: AnimationRequest, pattern: Callable[[int], str]
) -> Callable[[int, float], np.ndarray]:
    """What is drawn with the MotionLoRA from a timestep up, in steps at 501 and at 1."""

    def draw(first: int, scale: float) -> np.ndarray:
        lora = f"{pattern(first)}:{scale}"
        asked = replace(request_of, motion_loras=(lora,), scheduler="ddim")
        return Animator.for_request(asked).animate(asked).video.frames

    return draw


def test_it_is_left_out_below_the_timestep_that_it_learned_from(
    drawn: Callable[[int, float], np.ndarray],
) -> None:
    everywhere, late, nowhere, without = (
        drawn(*asked) for asked in ((0, 1.0), (100, 1.0), (999, 1.0), (0, 0.0))
    )
    assert np.array_equal(nowhere, without)
    assert not np.array_equal(late, without)
    assert not np.array_equal(late, everywhere)
    assert np.array_equal(drawn(1, 1.0), everywhere)


def test_the_weights_are_those_of_the_timestep_and_come_back(
    request_of: AnimationRequest, pattern: Callable[[int], str]
) -> None:
    names = (pattern(500), pattern(0))
    asked = replace(request_of, motion_loras=tuple(f"{name}:1" for name in names))
    animator = Animator.for_request(asked)
    motion = animator.animated.motion

    def weights() -> dict[str, Tensor]:
        return {name: p.detach().clone() for name, p in motion.named_parameters() if p.ndim == 2}

    def merged_times() -> float:
        """How many of the two are in the weights, by the size of what was added."""
        now = weights()
        changed = [float((now[n] - own[n]).norm()) for n in own if not torch.equal(now[n], own[n])]
        return sum(changed)

    own = weights()
    with torch.inference_mode(), acting([(b, 1.0) for b in animator.motion_loras]) as at:
        seen: list[float] = []
        for timestep in (999.0, 500.0, 499.0, 700.0):
            at(timestep)
            seen.append(merged_times())
    assert seen[0] == seen[1] == seen[3] == pytest.approx(2 * seen[2], rel=1e-4)
    assert seen[2] > 0
    assert all(torch.equal(weight, own[name]) for name, weight in weights().items())
    assert not any(p.is_inference() for p in motion.parameters())
