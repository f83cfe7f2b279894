"""What a caller sees of an animation while it is made: progress, previews, and a way to cancel."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from animatediff.sampling.animation import Progress
from animatediff.sampling.decode import decode
from animatediff.sampling.settled import Settled
from animatediff.video import Video
from animatediff.weights.image_model.base_model import BaseModel

if TYPE_CHECKING:
    from PIL.Image import Image

PREVIEW_FRAMES, PREVIEW_AREA = 4, 16 * 32 * 32
"""How many latent pixels a preview decodes: those of so many frames, or so many in any case."""


@dataclass(frozen=True)
class Watch:
    """Reports the progress of one animation.

    Attributes:
        settled: the request.
        base: its autoencoder decodes previews; it is read when the first preview is asked for.
        on_step: called after every step.
        should_stop: asked before every step.
    """

    settled: Settled
    base: BaseModel
    on_step: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def inverted(self, step: int, latents: Float[Tensor, "1 c f h w"]) -> None:
        """Report how many steps of DDIM inversion are done."""
        steps = self.settled.steps - self.settled.first
        self.on_step(Progress("invert", step, steps, lambda: self._sheet(latents)))

    def denoised(self, step: int, guess: Float[Tensor, "1 c f h w"], *, number: int) -> None:
        """Report a denoising step of a FreeInit round, and what the latents will probably become."""
        first, rounds = self.settled.first, self.settled.request.free_init
        steps = self.settled.steps - first
        done = number * steps + step - first
        self.on_step(Progress("denoise", done, rounds * steps, lambda: self._sheet(guess)))

    def decoded(self, frame: int, latents: Float[Tensor, "1 c f h w"]) -> None:
        """Report how many frames of the finished latents are decoded."""
        frames = self.settled.num_frames
        self.on_step(Progress("decode", frame, frames, lambda: self._sheet(latents)))

    def _sheet(self, latents: Float[Tensor, "1 c f h w"]) -> Image:
        """All frames as one picture, so small that they cost as much as a few of full size."""
        frames, height, width = latents.shape[2:]
        most = max(PREVIEW_FRAMES * height * width, PREVIEW_AREA)
        shrink = math.ceil(math.sqrt(frames * height * width / most))
        if shrink > 1:
            small = (max(1, height // shrink), max(1, width // shrink))
            flat = rearrange(latents, "1 c f h w -> f c h w").float()
            flat = functional.interpolate(flat, size=small, mode="area")
            latents = rearrange(flat, "f c h w -> 1 c f h w")
        return Video(decode(latents, vae=self.base.vae), self.settled.request.rate).contact_sheet()


def ignore(progress: Progress) -> None:
    """Nobody watches."""
    del progress


def never() -> bool:
    """Nobody cancels."""
    return False
