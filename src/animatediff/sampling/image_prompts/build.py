"""From the image prompts of a request to attention that is in place while it is denoised."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from animatediff.model.image_prompts.attention import ImagePrompt
from animatediff.sampling.ask import Around
from animatediff.sampling.control.frame_strengths import frame_strengths
from animatediff.sampling.control.hints import as_unit, read_hints
from animatediff.sampling.image_prompts.followed import (
    FollowedPictures,
    TokenTrack,
    with_image_prompts,
)
from animatediff.sampling.image_prompts.inputs import check_encoder, check_pictures
from animatediff.sampling.image_prompts.layer_weights import prompt_layer_weights
from animatediff.sampling.image_prompts.settings import ImagePromptSetting, image_prompt_settings
from animatediff.sampling.image_prompts.tracks import Pixels, read_tracks
from animatediff.sampling.settled import Settled
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.image_prompts.image_encoder import ImageEncoder
from animatediff.weights.image_prompts.ip_adapter import LoadedIpAdapter

CHUNK = 8
"""Pictures that are encoded at a time."""


@contextmanager
def image_prompts_of(
    settled: Settled,
    *,
    adapters: Sequence[LoadedIpAdapter],
    encoders: Sequence[ImageEncoder],
    base: BaseModel,
) -> Generator[Around]:
    """Attach the image prompts of a request; yields the wrapper that feeds them.

    Pictures are read and encoded once. Adapters of scale 0 are left out. The others are attached in
    an order that does not depend on how they were given, so that their sum, which is rounded, does
    not either.

    Args:
        settled: the request.
        adapters: its IP-Adapters, in its order.
        encoders: the image encoder, if there is one.
        base: the image model.

    Raises:
        FileError: a picture cannot be read, or the encoder is another one.
        InputError: pictures and adapters do not match, or an option cannot be used.
    """
    request = settled.request
    check_pictures(request)
    rows = sorted(
        (
            (setting, adapter)
            for setting, adapter in zip(image_prompt_settings(request), adapters, strict=True)
            if not setting.scale.is_zero
        ),
        key=lambda row: (str(row[1].file.header.path), repr(row[0])),
    )
    with ExitStack() as stack, torch.inference_mode():
        followed: list[FollowedPictures] = []
        for setting, adapter in rows:
            check_encoder([adapter.file], encoders[0])
            one = _followed(setting, adapter, encoder=encoders[0], settled=settled, base=base)
            stack.callback(one.prompt.remove)
            followed.append(one)
        yield partial(with_image_prompts, followed=followed)


def _followed(
    setting: ImagePromptSetting,
    adapter: LoadedIpAdapter,
    *,
    encoder: ImageEncoder,
    settled: Settled,
    base: BaseModel,
) -> FollowedPictures:
    num_frames = settled.num_frames
    tracks = read_tracks(
        setting.pictures, num_frames=num_frames, between=settled.request.ip_between
    )
    weights = prompt_layer_weights(setting.weights, base.unet)
    strengths = torch.tensor(frame_strengths(setting.strengths, num_frames=num_frames))
    nothing = _nothing(adapter, encoder, device=base.device)
    found = [
        TokenTrack(
            _tokens(track.pictures, adapter, encoder, device=base.device),
            torch.tensor(track.before),
            torch.tensor(track.after),
            torch.tensor(track.share),
        )
        for track in tracks
    ]
    mask = _mask(setting, settled=settled, base=base)
    return FollowedPictures(
        prompt=ImagePrompt(base.unet, adapter.branches, layer_weights=weights),
        tracks=tuple(found),
        nothing=nothing,
        scale=setting.scale,
        strengths=strengths,
        steps=settled.steps,
        start=setting.start,
        end=setting.end,
        mask=mask,
    )


def _tokens(
    pictures: Sequence[Pixels],
    adapter: LoadedIpAdapter,
    encoder: ImageEncoder,
    *,
    device: torch.device,
) -> Float[Tensor, "i t cross"]:
    read = encoder.patches if adapter.file.reads_patches else encoder.pooled
    parts = [list(pictures[at : at + CHUNK]) for at in range(0, len(pictures), CHUNK)]
    return torch.cat([adapter.projection(read(part, device=device)) for part in parts])


def _nothing(
    adapter: LoadedIpAdapter, encoder: ImageEncoder, *, device: torch.device
) -> Float[Tensor, "1 t cross"]:
    """The tokens of no picture: of an embedding of zeros, or of a picture of zeros."""
    if adapter.file.reads_patches:
        return adapter.projection(encoder.no_patches(device=device))
    return adapter.projection(torch.zeros(1, adapter.file.features, device=device))


def _mask(
    setting: ImagePromptSetting, *, settled: Settled, base: BaseModel
) -> Float[Tensor, "f h w"] | None:
    if setting.mask is None:
        return None
    hints = read_hints(
        setting.mask,
        num_frames=settled.num_frames,
        width=settled.width,
        height=settled.height,
        fit=settled.request.control_fit,
        missing=settled.request.control_missing,
    )
    grey = as_unit(hints.frames).mean(dim=1, keepdim=True)
    unit = base.pixels_per_latent
    small = F.adaptive_avg_pool2d(grey, (settled.height // unit, settled.width // unit))
    rows = torch.tensor(hints.rows)
    given = rearrange((rows >= 0).float(), "f -> f 1 1 1")
    return rearrange(small[rows.clamp(min=0)] * given, "f 1 h w -> f h w").to(base.device)
