"""Object paths in place: movement is drawn, encoded once, and added to the early steps.

As in MotionCtrl's program (arXiv 2312.03641, Sec. 3.3), a path is a sparse field of movement on a grid
of 256 x 256 pixels, blurred by a Gaussian; here it is then brought to the size of the animation.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet, motion_sites
from animatediff.model.grafts.added_features import AddedFeatures
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.camera.options import check_paths
from animatediff.sampling.object_motion.paths import parse_path, points_of_frames
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.settled import Settled
from animatediff.weights.camera.object_motion import SQUARE, LoadedObjectMotion

GRID = 256
RADIUS, SIGMA = 49, 10.0
CHUNK = 8
"""Frames that are encoded at a time."""


@contextmanager
def object_motion_of(
    settled: Settled,
    *,
    motion: LoadedObjectMotion | None,
    animated: AnimatedUNet,
    device: torch.device,
) -> Generator[tuple[Around, ...]]:
    """Put the object paths of a request in place; yields the wrappers that feed them.

    Args:
        settled: the request.
        motion: what is loaded.
        animated: the U-Net with its motion modules.
        device: where they compute.

    Raises:
        InputError: there is no path, or it is for no network.
    """
    request = settled.request
    check_paths(request)
    scale = parse_lora(request.object_motion)[1] if request.object_motion else Scale.of(0)
    if motion is None or scale.is_zero:
        yield ()
        return
    drawn = movement(list(request.object_paths), num_frames=settled.num_frames)
    layers = _layers(animated)
    added = AddedFeatures(layers, first=False)
    planes = _Planes(drawn.to(device), motion, len(layers))
    until = request.object_until
    try:
        yield (
            partial(_moving, added=added, planes=planes, scale=scale, until=until, settled=settled),
        )
    finally:
        added.remove()


@dataclass(frozen=True)
class _Planes:
    """The features of a field of movement, computed once for each size of latents."""

    drawn: Float[Tensor, "f 2 256 256"]
    motion: LoadedObjectMotion
    count: int
    known: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = field(
        default_factory=dict[tuple[int, int], "list[tuple[Tensor, Tensor]]"]
    )

    def at(self, ask: Ask) -> list[tuple[Tensor, Tensor]]:
        """For each layer, the plane of no movement and those of every frame of the animation."""
        height, width = ask.latents.shape[-2:]
        if (height, width) not in self.known:
            size = (SQUARE * height, SQUARE * width)
            fields = F.interpolate(self.drawn, size=size, mode="bilinear")
            nothing = _encoded(self.motion, torch.zeros_like(fields[:1]))
            found = _encoded(self.motion, fields)
            pairs = zip(nothing[: self.count], found[: self.count], strict=True)
            self.known[height, width] = list(pairs)
        return self.known[height, width]


def movement(paths: list[str], *, num_frames: int) -> Float[Tensor, "f 2 256 256"]:
    """How far every pixel of the grid moved since the frame before, to the right and down."""
    fields = torch.zeros(num_frames, 2, GRID, GRID)
    for text in paths:
        points = [
            (min(int(GRID * x), GRID - 1), min(int(GRID * y), GRID - 1))
            for x, y in points_of_frames(parse_path(text), num_frames=num_frames)
        ]
        for frame in range(1, num_frames):
            (x, y), (x2, y2) = points[frame - 1], points[frame]
            fields[frame, 0, y, x] += x2 - x
            fields[frame, 1, y, x] += y2 - y
    return _blurred(fields)


def _blurred(fields: Float[Tensor, "f 2 h w"]) -> Float[Tensor, "f 2 h w"]:
    steps = torch.arange(-RADIUS, RADIUS + 1, dtype=torch.float32)
    line = torch.exp(-0.5 * (steps / SIGMA) ** 2)
    line = line / line.sum()
    padded = F.pad(rearrange(fields, "f d h w -> (f d) 1 h w"), (RADIUS,) * 4, mode="reflect")
    blurred = F.conv2d(F.conv2d(padded, line[None, None, None, :]), line[None, None, :, None])
    return rearrange(blurred, "(f d) 1 h w -> f d h w", d=2)


def _encoded(
    motion: LoadedObjectMotion, fields: Float[Tensor, "f 2 h w"]
) -> list[Float[Tensor, "f _ _ _"]]:
    parts = [motion.encoder(part) for part in F.pixel_unshuffle(fields, SQUARE).split(CHUNK)]
    return [torch.cat(each) for each in zip(*parts, strict=True)]


def _layers(animated: AnimatedUNet) -> list[torch.nn.Module]:
    """The last layer of each down block that has attention; the smallest block is given nothing."""
    found: dict[str, torch.nn.Module] = {}
    for site in motion_sites(animated.unet, mid=False):
        side, block, _ = site.name.split("_")
        if side == "down" and hasattr(animated.unet.down_blocks[int(block)], "attentions"):
            found[block] = site.layer
    return list(found.values())


def _moving(
    predict_noise: PredictNoise,
    *,
    added: AddedFeatures,
    planes: _Planes,
    scale: Scale,
    until: float,
    settled: Settled,
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        if float(ask.timestep) < until:
            return predict_noise(ask)
        scales = scale.at(ask.frames.tolist(), step=ask.step, steps=settled.steps)
        now: list[Tensor] = []
        for nothing, plane in planes.at(ask):
            own = plane[ask.frames.to(plane.device)]
            rows = ask.pick(nothing.expand_as(own), own)
            counted = rows * rows.new_tensor(scales)[:, None, None, None]
            now.append(rearrange(counted, "r f c h w -> (r f) c h w"))
        with added.given(now):
            return predict_noise(ask)

    return predict
