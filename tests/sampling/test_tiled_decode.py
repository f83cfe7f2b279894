"""Tiles of a decoder: they cover everything, add up to one, and do not show."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import torch
from hypothesis import strategies
from tests.tiny_models import new_vae
from torch import Tensor

from animatediff.sampling.animator import Animator
from animatediff.sampling.steps.decode import decode
from animatediff.sampling.steps.tiled_decode import decoded_in_tiles, spans


def local(latents: Tensor) -> Tensor:
    """A decoder that looks nowhere else: each latent becomes two by two pixels."""
    return latents[:, :3].repeat_interleave(2, -1).repeat_interleave(2, -2)


@hypothesis.given(
    height=strategies.integers(1, 40),
    width=strategies.integers(1, 40),
    tile=strategies.integers(2, 17),
)
def test_a_decoder_that_looks_nowhere_else_gives_the_whole(
    height: int, width: int, tile: int
) -> None:
    latents = torch.arange(4.0 * height * width).reshape(1, 4, height, width) / 100
    tiled = decoded_in_tiles(latents, decode=local, tile=tile)
    torch.testing.assert_close(tiled, local(latents), atol=1e-4, rtol=1e-5)
    assert all(0 <= start < end <= height for start, end in spans(height, tile))
    assert {i for start, end in spans(height, tile) for i in range(start, end)} == {*range(height)}


def test_tiles_that_differ_in_brightness_meet_without_a_step() -> None:
    count = 0

    def brighter_each_time(latents: Tensor) -> Tensor:
        nonlocal count
        count += 1
        return local(torch.zeros_like(latents)) + count

    tiled = decoded_in_tiles(torch.zeros(1, 4, 8, 64), decode=brighter_each_time, tile=16)
    steps = tiled[0, 0, 0].diff().abs()
    assert count > 3
    assert steps.max() <= 1 / 8 + 1e-5  # a ramp of 4 latents is 8 pixels


def test_large_frames_are_close_to_those_decoded_whole() -> None:
    torch.manual_seed(0)
    vae = new_vae()
    latents = torch.randn(1, 4, 2, 24, 40)
    whole = decode(latents, vae=vae).astype(float)
    tiled = decode(latents, vae=vae, tile=128).astype(float)
    assert np.abs(whole - tiled).mean() < 4
    assert np.array_equal(decode(latents, vae=vae, tile=512), decode(latents, vae=vae))


def test_a_request_may_ask_for_tiles(tiny_world: Path, tiny_motion: Path) -> None:
    animator = Animator.load(str(tiny_world), motion=str(tiny_motion))
    plain = animator.animate("a fox", num_frames=1, steps=1, width=192, height=64)
    tiled = animator.animate("a fox", num_frames=1, steps=1, width=192, height=64, vae_tile=64)
    assert torch.equal(plain.latents, tiled.latents)
    assert tiled.frames.shape == plain.frames.shape
    assert np.abs(plain.frames.astype(float) - tiled.frames).mean() < 8
