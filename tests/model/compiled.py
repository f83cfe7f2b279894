"""Compiles a small grafted model and counts its graphs; shape checks would not compile."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, fx

from animatediff.model import AnimatedUNet
from animatediff.model.grafts.merging import exchanged

torch.manual_seed(0)
torch.set_num_threads(1)
UNET = UNet2DConditionModel(
    sample_size=4,
    block_out_channels=(32, 64),
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    layers_per_block=1,
    cross_attention_dim=32,
    attention_head_dim=4,
)


class Counting:
    """A backend of torch.compile that runs graphs as they are, and counts them."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: fx.GraphModule, example: Sequence[Any]) -> Callable[..., Any]:
        self.graphs += 1
        return graph.forward


def main() -> None:
    """Print how many graphs there are after the first call, after scales, and at the end."""
    animated = AnimatedUNet(UNET.eval(), mid=True).eval().requires_grad_(False)
    for weights in animated.motion.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    latents, text = torch.randn(2, 4, 3, 4, 4), torch.randn(2, 5, 32)
    counting = Counting()
    # Without a break: fullgraph raises at the first one.
    compiled = torch.compile(animated.forward, backend=counting, fullgraph=True)

    def check(timestep: int = 500) -> None:
        given = (latents, torch.tensor(timestep), text)
        found: Tensor = compiled(*given)
        assert torch.equal(found, animated(*given))

    counts: list[int] = []
    with torch.no_grad():
        check()
        counts.append(counting.graphs)
        for scale in (0.5, 0.7, 1.3, 1.0):
            animated.set_motion_scale(scale)
            check()
        counts.append(counting.graphs)
        weight = next(animated.unet.parameters())
        with exchanged({weight: weight.data * 2}):
            check()
        check(timestep=20)
        counts.append(counting.graphs)
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
