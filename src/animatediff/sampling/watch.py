"""Report progress and previews of an animation, and cancel it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from animatediff.errors import Cancelled
from animatediff.sampling.animation import Progress
from animatediff.sampling.settled import Settled
from animatediff.sampling.steps.decode import decode
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
        base: the image model, whose autoencoder decodes previews.
        on_step: called after every step.
        should_stop: asked before every step.
    """

    settled: Settled
    base: BaseModel
    on_step: Callable[[Progress], None]
    should_stop: Callable[[], bool]

    def inverted(self, step: int, latents: Float[Tensor, "1 c f h w"]) -> None:
        """Report finished steps of DDIM inversion."""
        steps = self.settled.steps - self.settled.first
        self.on_step(Progress("invert", step, steps, lambda: self._sheet(latents)))

    def still(self, step: int, guess: Float[Tensor, "1 c f h w"]) -> None:
        """Report a denoising step of the still that an animation begins from."""
        self.on_step(Progress("still", step, self.settled.steps, lambda: self._sheet(guess)))

    def denoised(self, step: int, guess: Float[Tensor, "1 c f h w"], *, number: int) -> None:
        """Report a denoising step of a FreeInit round, with the predicted clean latents."""
        first, rounds = self.settled.first, self.settled.request.free_init
        steps = self.settled.steps - first
        done = number * steps + step - first
        self.on_step(Progress("denoise", done, rounds * steps, lambda: self._sheet(guess)))

    def decoded(self, frame: int, latents: Float[Tensor, "1 c f h w"]) -> None:
        """Report decoded frames."""
        frames = self.settled.num_frames
        self.on_step(Progress("decode", frame, frames, lambda: self._sheet(latents)))

    def finished(
        self, stage: str, frame: int, frames: int, latents: Float[Tensor, "1 c f h w"]
    ) -> None:
        """Report how many frames of a stage after decoding are done.

        Raises:
            Cancelled: ``should_stop`` returned true.
        """
        self.on_step(Progress(stage, frame, frames, lambda: self._sheet(latents)))
        if self.should_stop():
            raise Cancelled(f"Cancelled after {frame} of {frames} frames of {stage}.")

    def _sheet(self, latents: Float[Tensor, "1 c f h w"]) -> Image:
        """Draw a contact sheet of all frames, small enough to cost as much as a few full frames."""
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
    """Ignore progress."""
    del progress


def never() -> bool:
    """Never cancel."""
    return False
