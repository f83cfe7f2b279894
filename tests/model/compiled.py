"""Compiles a small grafted model and counts its graphs; shape checks would not compile."""

from __future__ import annotations

import json
import sys

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch._dynamo.utils import counters

from animatediff.model import AnimatedUNet, attach_domain_adapter
from animatediff.model.control.residuals import Residuals
from animatediff.model.fast.compiled import Compiled
from animatediff.model.grafts.merging import exchanged, merged
from animatediff.model.grafts.weight_delta import Change, FullDelta
from animatediff.model.motion_strength import Factors, MotionStrength

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
FRAMES = 3


def graphs() -> int:
    """How many graphs torch has traced in this process."""
    return counters["stats"]["unique_graphs"]


def residuals(strength: float) -> Residuals:
    """What a control network adds to the skip connections and in the middle."""
    sizes = ((32, 4), (32, 4), (32, 2), (64, 2))
    skips = tuple(strength * torch.ones(2 * FRAMES, c, s, s) for c, s in sizes)
    return Residuals(skips, mid=strength * torch.ones(2 * FRAMES, 64, 2, 2))


def first_motion(animated: AnimatedUNet) -> torch.nn.Linear:
    """The first projection of the first motion module."""
    return next(x for x in animated.motion.modules() if isinstance(x, torch.nn.Linear))


def main(name: str) -> None:
    """Print how many graphs there are after each kind of change; other backends than eager do less."""
    animated = AnimatedUNet(UNET.eval(), mid=True).eval().requires_grad_(False)
    for weights in animated.motion.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    latents, text = torch.randn(2, 4, FRAMES, 4, 4), torch.randn(2, 5, 32)
    tolerance = 0.0 if name == "eager" else 1e-4
    counts: dict[str, int] = {}

    def check(timestep: int = 500, added: Residuals | None = None) -> None:
        given = (latents, torch.tensor(timestep), text)
        plain: Tensor = animated(*given, residuals=added)
        # Another one for each animation, which must not compile again.
        compiled = Compiled(animated, backend=name, whole=True)
        found: Tensor = animated(*given, residuals=added)
        again: Tensor = animated(*given, residuals=added)
        compiled.remove()
        assert float((found - plain).abs().max()) <= tolerance
        assert torch.equal(found, again)
        assert torch.equal(animated(*given, residuals=added), plain)

    with torch.inference_mode():
        check()
        counts["first"] = graphs()
        for scale in (0.5, 0.7, 0.0, 1.3, 1.0):
            animated.set_motion_scale(scale)
            check()
        counts["motion scales"] = graphs()
        layers = {
            animated.unet.conv_in: animated.unet.conv_in.weight,
            first_motion(animated): first_motion(animated).weight,
        }
        changes = [
            Change(layer, "weight", FullDelta(torch.randn_like(weight)))
            for layer, weight in layers.items()
        ]
        for scale in (0.5, 1.0, -2.0):  # a LoRA and a MotionLoRA
            with exchanged(merged([(changes, scale)])):
                check()
        check(timestep=20)
        counts["weights and timesteps"] = graphs()
        if name != "eager":
            print(json.dumps(counts))
            return
        check(added=residuals(1.0))
        counts["control"] = graphs()
        for strength in (0.3, 0.6, 2.0):
            check(added=residuals(strength))
        counts["control strengths"] = graphs()
        adapter = attach_domain_adapter(animated.unet, rank=2)
        for branch in adapter.parameters():
            torch.nn.init.normal_(branch, std=0.1)
        with adapter.grafts.over_frames(torch.tensor([0.0, 0.5, 1.0])):
            check()
        counts["adapter"] = graphs()
        for scales in ([1.0, 0.5, 0.0], [0.2, 0.2, 0.2]):
            with adapter.grafts.over_frames(torch.tensor(scales)):
                check()
        counts["adapter scales"] = graphs()
        adapter.remove()
        strength = MotionStrength(animated)
        for number, value in enumerate((0.5, 1.5, 2.0)):
            factor = torch.full((FRAMES, 1, 1), value)
            strength.factors = {site: Factors(factor, factor) for site in animated.motion}
            check()
            if number == 0:
                counts["motion strength"] = graphs()
        counts["motion strengths"] = graphs()
        strength.remove()
        check()
        counts["end"] = graphs()
    print(json.dumps(counts))


if __name__ == "__main__":
    main(sys.argv[1])
