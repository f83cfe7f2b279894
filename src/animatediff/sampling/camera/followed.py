"""A camera path in place: what motion modules are given is looked up for every ask."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.camera.pose_encoder import FRAMES, SQUARE, PoseEncoder
from animatediff.model.camera.posed_attention import PosedAttention
from animatediff.model.camera.projected_camera import ProjectedCamera
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.camera.moves import is_moves, poses_of
from animatediff.sampling.camera.options import check_paths
from animatediff.sampling.camera.poses import Poses, rays, read_poses, seen_from_first
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.scaled_names import parse_lora
from animatediff.sampling.settled import Settled
from animatediff.sampling.windows.plan import WindowPlan
from animatediff.weights.camera.file import LoadedCamera


@contextmanager
def camera_of(
    settled: Settled,
    *,
    camera: LoadedCamera | None,
    animated: AnimatedUNet,
    device: torch.device,
) -> Generator[tuple[Around, ...]]:
    """Put the camera path of a request in place; yields the wrappers that feed it.

    A scale of 0 leaves the motion modules as they are. Enter it before weights are changed, since
    MotionCtrl's file replaces some.

    Args:
        settled: the request.
        camera: what is loaded.
        animated: the U-Net with its motion modules.
        device: where they compute.

    Raises:
        FileError: the file of poses cannot be read.
        InputError: the path is missing, or is for no network.
    """
    request = settled.request
    check_paths(request)
    scale = parse_lora(request.camera)[1] if request.camera else Scale.of(0)
    if camera is None or scale.is_zero:
        yield ()
        return
    if is_moves(request.camera_path):
        poses = poses_of(
            request.camera_path, num_frames=settled.num_frames, version=camera.file.version
        )
    else:
        path = Path(request.camera_path).expanduser()
        poses = read_poses(path, num_frames=settled.num_frames)
    if camera.encoder is not None and camera.merges is not None:
        posed = PosedAttention(animated, camera.merges)
        features = _Features(poses, camera.encoder, tuple(camera.merges), device)
        try:
            yield (partial(_posed, posed=posed, features=features, scale=scale, settled=settled),)
        finally:
            posed.remove()
        return
    assert camera.projections is not None
    projected = ProjectedCamera(animated, camera.projections)
    numbers = seen_from_first(poses).float().to(device)
    try:
        yield (partial(_projected, camera=projected, poses=numbers, scale=scale, settled=settled),)
    finally:
        projected.remove()


def encoded_path(
    encoder: PoseEncoder, seen: Float[Tensor, "f 6 height width"]
) -> tuple[Float[Tensor, "f _ _ _"], ...]:
    """Features of a path of any length, in windows of the length that the encoder was trained on."""
    plan = WindowPlan(len(seen), length=min(FRAMES, len(seen)), overlap=min(FRAMES, len(seen)) // 2)
    if plan.is_whole:
        return encoder(seen)
    totals: list[Tensor] = []
    weight = seen.new_zeros(len(seen))
    for window in plan.at(0):
        frames = torch.tensor(window.frames, device=seen.device)
        counts = weight.new_tensor(window.weights)
        levels = encoder(seen[frames])
        totals = totals or [x.new_zeros(len(seen), *x.shape[1:]) for x in levels]
        for total, level in zip(totals, levels, strict=True):
            total.index_add_(0, frames, level * counts[:, None, None, None])
        weight.index_add_(0, frames, counts)
    return tuple(total / weight[:, None, None, None] for total in totals)


@dataclass(frozen=True)
class _Features:
    """CameraCtrl's features of a path, computed once for each size of latents."""

    poses: Poses
    encoder: PoseEncoder
    sites: tuple[str, ...]
    device: torch.device
    known: dict[tuple[int, int], dict[str, Tensor]] = field(
        default_factory=dict[tuple[int, int], dict[str, Tensor]]
    )

    def at(self, ask: Ask) -> dict[str, Float[Tensor, "f _ _ _"]]:
        """The features of each site, of every frame of the animation."""
        height, width = ask.latents.shape[-2:]
        if (height, width) not in self.known:
            seen = rays(self.poses, width=SQUARE * width, height=SQUARE * height)
            levels = encoded_path(self.encoder, seen.to(self.device))
            self.known[height, width] = {site: _level(levels, site) for site in self.sites}
        return self.known[height, width]


def _level(levels: tuple[Tensor, ...], site: str) -> Tensor:
    """The level of a site: down blocks in order, up blocks from the smallest."""
    side, block, _ = site.split("_")
    return levels[int(block) if side == "down" else len(levels) - 1 - int(block)]


def _scales(ask: Ask, scale: Scale, settled: Settled) -> Float[Tensor, " bf"]:
    scales = scale.at(ask.frames.tolist(), step=ask.step, steps=settled.steps)
    return torch.tensor(scales).repeat(len(ask.latents))


def _posed(
    predict_noise: PredictNoise,
    *,
    posed: PosedAttention,
    features: _Features,
    scale: Scale,
    settled: Settled,
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        clips = len(ask.latents)
        now = {
            site: plane[ask.frames.to(plane.device)].repeat(clips, 1, 1, 1)
            for site, plane in features.at(ask).items()
        }
        with posed.given(now, _scales(ask, scale, settled)):
            return predict_noise(ask)

    return predict


def _projected(
    predict_noise: PredictNoise,
    *,
    camera: ProjectedCamera,
    poses: Float[Tensor, "f 12"],
    scale: Scale,
    settled: Settled,
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        own = poses[ask.frames.to(poses.device)]
        # Without the prompt, the network was trained on poses of zeros.
        now = rearrange(ask.pick(torch.zeros_like(own), own), "r f p -> (r f) p")
        with camera.given(now, _scales(ask, scale, settled)):
            return predict_noise(ask)

    return predict
