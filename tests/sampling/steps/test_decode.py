"""Decoding takes a few frames at a time, so that its memory does not grow with the clip."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

from animatediff.sampling.steps.decode import decode, frames_together


def tiny_vae() -> AutoencoderKL:
    torch.manual_seed(0)
    kinds = 2
    return (
        AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * kinds,
            up_block_types=("UpDecoderBlock2D",) * kinds,
            block_out_channels=(8, 8),
            norm_num_groups=2,
        )
        .eval()
        .requires_grad_(False)
    )


def test_large_frames_are_decoded_one_by_one() -> None:
    assert [frames_together(side * side) for side in (32, 128, 129, 182, 256, 1024)] == [
        2,
        2,
        1,
        1,
        1,
        1,
    ]


def test_it_decodes_as_many_frames_together_as_it_says(monkeypatch: Any) -> None:
    vae = tiny_vae()
    plain, seen = vae.decode, []

    def decoded(part: Any, **options: Any) -> Any:
        seen.append(len(part))
        return plain(part, **options)

    monkeypatch.setattr(vae, "decode", decoded)
    draw = torch.Generator().manual_seed(1)
    small, large = torch.randn(1, 4, 3, 8, 8, generator=draw), torch.randn(1, 4, 3, 8, 80 * 16)
    frames = decode(small, vae=vae)
    assert seen == [2, 1]
    seen.clear()
    assert decode(large, vae=vae).shape == (3, 16, 80 * 32, 3)
    assert seen == [1, 1, 1]
    alone = np.concatenate([decode(small[:, :, i : i + 1], vae=vae) for i in range(3)])
    assert np.abs(alone.astype(int) - frames).max() <= 1
