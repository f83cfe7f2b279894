"""A picture in place: what follows it inside the model, around it, and in the latents to begin with."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor

from animatediff.model.grafts.added_features import AddedFeatures, last_down_layers
from animatediff.model.grafts.extra_channels import Extra, graft_extra_channels
from animatediff.model.motion_module import frame_positions
from animatediff.sampling.around.extra_channels import with_extra_channels
from animatediff.sampling.ask import Around, Ask, Latents, PredictNoise
from animatediff.sampling.image_to_video.affinity import affinities
from animatediff.sampling.image_to_video.blend import blended
from animatediff.sampling.image_to_video.known_frame import with_known_frame
from animatediff.sampling.image_to_video.picture import (
    Pixels,
    agreement,
    picture_latents,
    picture_of,
)
from animatediff.sampling.image_to_video.way import WAYS
from animatediff.sampling.settled import Settled
from animatediff.weights.families import Family
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.motion_picture import PictureInput

if TYPE_CHECKING:
    from animatediff.model.picture_pyramid import PicturePyramid


@dataclass(frozen=True)
class Moved:
    """A picture that is being animated; all empty where there is none.

    Attributes:
        picture: at the size of the animation.
        inner: wrappers around the model itself, which see each window.
        outer: wrappers around everything.
        latents: to begin with.
        said: which way was taken, in a sentence.
    """

    picture: Pixels | None = None
    inner: tuple[Around, ...] = ()
    outer: tuple[Around, ...] = ()
    latents: Latents | None = None
    said: str = ""

    def notes(self, first: Pixels) -> list[str]:
        """What to say of an animation whose frame 0 is ``first``."""
        if self.picture is None:
            return [self.said] if self.said else []
        decibels = agreement(self.picture, first)
        return [f"{self.said} Frame 0 agrees with it to {decibels:.1f} dB (PSNR)."]


@contextmanager
def moved_picture(
    settled: Settled, *, reads: PictureInput | None, base: BaseModel, family: Family
) -> Generator[Moved]:
    """Put the picture of a request in place, by the way that was settled.

    Args:
        settled: the request.
        reads: what the motion module's file reads a picture with.
        base: the image model.
        family: of the motion module; it has the noise schedule.

    Raises:
        FileError: the picture cannot be read.
    """
    way = settled.image_way
    if way is None:
        said = f"{family.title} animates a picture, and none was given (--image)." if reads else ""
        yield Moved(said=said)
        return
    request = settled.request
    with torch.inference_mode():
        picture = picture_of(settled)
        latents = picture_latents(picture, base=base)
    moved = Moved(picture, said=f"The picture was animated by {WAYS[way]}.")
    if settled.first > 0:
        moved = replace(moved, latents=latents.expand(-1, -1, settled.num_frames, -1, -1))
    if way == "pia":
        assert reads is not None
        assert reads.channels is not None
        graft, branch = graft_extra_channels(base.unet.conv_in, reads.channels)
        extra = _Affine(latents, affinities(request.image_motion, num_frames=settled.num_frames))
        try:
            yield replace(moved, inner=(partial(with_extra_channels, branch=branch, extra=extra),))
        finally:
            graft.remove()
    elif way == "animatelcm-i2v":
        assert reads is not None
        assert reads.encoder is not None
        added = AddedFeatures(last_down_layers(base.unet), first=True)
        features = _Encoded(latents, reads.encoder, request.image_motion_scale)
        try:
            yield replace(moved, inner=(partial(_with_features, added=added, features=features),))
        finally:
            added.remove()
    elif way == "blend":
        begun = blended(
            latents,
            num_frames=settled.num_frames,
            power=request.image_power,
            scale=request.image_scale,
            seed=request.seed,
        )
        pinned = partial(
            with_known_frame,
            frame=0,
            latents=latents,
            betas=family.betas,
            prediction=str(base.scheduler_config.get("prediction_type", "epsilon")),
        )
        outer: tuple[Around, ...] = (pinned,) if request.image_pinned else ()
        yield replace(moved, outer=outer, latents=begun)
    else:
        yield moved


@dataclass(frozen=True)
class _Affine:
    """PIA's extra channels: the affinity of a frame, then the latents of the picture."""

    latents: Float[Tensor, "1 c 1 h w"]
    affinities: Sequence[float]

    def __call__(self, ask: Ask) -> Extra:
        clips, _, frames, height, width = ask.latents.shape
        mask = self.latents.new_tensor([self.affinities[frame] for frame in ask.frames.tolist()])
        mask = repeat(mask, "f -> b 1 f h w", b=clips, h=height, w=width)
        picture = self.latents.expand(clips, -1, frames, -1, -1)
        return torch.cat([mask, picture], dim=1)


@dataclass(frozen=True)
class _Encoded:
    """AnimateLCM's features of the picture, computed once for each length of a window."""

    latents: Float[Tensor, "1 c 1 h w"]
    encoder: PicturePyramid
    scale: float
    known: dict[int, tuple[Tensor, ...]] = field(default_factory=dict[int, tuple[Tensor, ...]])

    def __call__(self, ask: Ask) -> list[Tensor]:
        clips, _, frames, _, _ = ask.latents.shape
        if frames not in self.known:
            width = self.encoder.conv_in.out_channels
            plus = self.scale * frame_positions(frames, width).to(self.latents)
            picture = rearrange(self.latents.expand(-1, -1, frames, -1, -1), "1 c f h w -> f c h w")
            self.known[frames] = self.encoder(picture, plus=rearrange(plus, "f c -> f c 1 1"))
        return [plane.repeat(clips, 1, 1, 1) for plane in self.known[frames]]


def _with_features(
    predict_noise: PredictNoise, *, added: AddedFeatures, features: _Encoded
) -> PredictNoise:
    def predict(ask: Ask) -> Latents:
        with added.given(features(ask)):
            return predict_noise(ask)

    return predict
