"""One image prompt of an animation: what it attends to is looked up for every ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from einops import rearrange, repeat
from jaxtyping import Float, Int
from torch import Tensor

from animatediff.model.image_prompts.attention import ImagePrompt, ImageTokens
from animatediff.sampling.ask import Ask, Latents, PredictNoise
from animatediff.sampling.options.scale import Scale
from animatediff.sampling.options.step_range import is_outside


@dataclass(frozen=True)
class TokenTrack:
    """Tokens along an animation, as ``Track`` has pictures.

    Attributes:
        tokens: of each picture.
        before: for each frame, the number of the picture it comes from.
        after: the number of the picture it goes to.
        share: how much of the latter it follows already.
    """

    tokens: Float[Tensor, "i t cross"]
    before: Int[Tensor, " f"]
    after: Int[Tensor, " f"]
    share: Float[Tensor, " f"]

    def at(self, frames: Int[Tensor, " w"]) -> Float[Tensor, "w t cross"]:
        """The tokens of some frames."""
        frames, device = frames.cpu(), self.tokens.device
        before, after = (self.tokens[rows[frames].to(device)] for rows in (self.before, self.after))
        share = self.share[frames].to(device)[:, None, None]
        return torch.lerp(before, after, share.expand_as(before))


@dataclass(frozen=True)
class FollowedPictures:
    """An image prompt that is attached to the U-Net, and what it follows.

    Attributes:
        prompt: attached.
        tracks: every frame attends to the tokens of all of them.
        nothing: the tokens of no picture, for the clip without the prompt.
        scale: of the whole; it may change over the frames or over the steps.
        strengths: of each frame of the animation.
        steps: denoising steps of the animation.
        start, end: the share of the steps in which it counts.
        mask: where it counts, of each frame; ``None`` is everywhere.
    """

    prompt: ImagePrompt
    tracks: tuple[TokenTrack, ...]
    nothing: Float[Tensor, "1 t cross"]
    scale: Scale
    strengths: Float[Tensor, " f"]
    steps: int
    start: float = 0.0
    end: float = 1.0
    mask: Float[Tensor, "f h w"] | None = None

    def at(self, ask: Ask) -> ImageTokens | None:
        """What the frames of an ask attend to; nothing where the prompt does not count."""
        if is_outside(ask.step, steps=self.steps, start=self.start, end=self.end):
            return None
        clips, frames = len(ask.latents), ask.frames.cpu()
        scales = self.scale.at(ask.frames.tolist(), step=ask.step, steps=self.steps)
        scales = self.strengths[frames] * torch.tensor(scales)
        followed = torch.cat([track.at(frames) for track in self.tracks], dim=1)
        without = repeat(
            self.nothing, "1 t c -> f (n t) c", f=len(frames), n=len(self.tracks)
        ).expand_as(followed)
        rows = ask.pick(without, followed)
        mask = self.mask
        if mask is not None:
            mask = mask[frames.to(mask.device)].repeat(clips, 1, 1)
        return ImageTokens(rearrange(rows, "r f t c -> (r f) t c"), scales.repeat(clips), mask)


def with_image_prompts(
    predict_noise: PredictNoise, *, followed: Sequence[FollowedPictures]
) -> PredictNoise:
    """Let the model attend to pictures while it predicts.

    Args:
        predict_noise: the model; this wrapper is an inner one, so that it sees each window's ask.
        followed: the image prompts.
    """
    if not followed:
        return predict_noise

    def predict(ask: Ask) -> Latents:
        for each in followed:
            each.prompt.images = each.at(ask)
        try:
            return predict_noise(ask)
        finally:
            for each in followed:
                each.prompt.images = None

    return predict
