"""The upscaler's lesson: pairs show the same place, and a few steps lower the loss."""

from __future__ import annotations

import numpy as np
import torch

from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.runtime import seeded
from animatediff.world.stages.upscaler import CROP, SCALE, UpscalerLesson


def pairs(count: int = 3, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    small = np.random.default_rng(0).integers(0, 255, (count, side, side, 3)).astype(np.uint8)
    return small, small.repeat(SCALE, axis=1).repeat(SCALE, axis=2)


def test_crops_of_both_sizes_show_the_same_place() -> None:
    small, large = pairs()

    class Repeat(torch.nn.Module):
        def forward(self, picture: torch.Tensor) -> torch.Tensor:
            assert picture.shape[-1] == CROP
            return picture.repeat_interleave(SCALE, dim=2).repeat_interleave(SCALE, dim=3)

    lesson = UpscalerLesson(Repeat(), small, large)
    for seed in range(4):
        loss = lesson.losses(torch.tensor([0, 1, 2]), seeded("crop", seed))["loss"]
        assert float(loss) == 0


def test_a_few_steps_lower_the_loss() -> None:
    small, large = pairs()
    large = 255 - large
    torch.manual_seed(0)
    network = CompactUpscaler(channels=8, layers=1)
    lesson = UpscalerLesson(network, small, large)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    losses: list[float] = []
    for step in range(30):
        loss = lesson.losses(torch.tensor([0, 1]), seeded("step", step))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
