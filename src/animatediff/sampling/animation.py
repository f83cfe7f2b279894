"""What an animator tells while it works, and what it hands over in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.sampling.metadata import Report, describe
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Progress:
    """How far an animation is.

    Attributes:
        stage: ``invert``, ``denoise`` or ``decode``.
        step: how many steps (or frames) of the stage are done.
        steps: of how many.
        preview: draws a contact sheet of all frames as they now look; only on demand, for it
            costs as much as decoding a few frames.
    """

    stage: str
    step: int
    steps: int
    preview: Callable[[], Image]


@dataclass(frozen=True)
class Animation:
    """A video, and everything about how it came to be.

    Attributes:
        video: the frames.
        request: what was asked, with every choice that was left to the model filled in.
        latents: what was decoded, in fp32 on the CPU.
        report: on what it ran, with which weights, and whatever was not done as asked.
        sound: a file whose sound belongs to it; ``save`` copies it where the format holds sound.
    """

    video: Video
    request: AnimationRequest
    latents: Float[Tensor, "1 c f h w"]
    report: Report
    sound: Path | None = None

    @property
    def frames(self) -> UInt8[np.ndarray, "f h w 3"]:
        """The frames as sRGB bytes."""
        return self.video.frames

    def to_pil(self) -> list[Image]:
        """The frames as pictures."""
        from PIL import Image

        return [Image.fromarray(frame) for frame in self.frames]

    def to_torch(self) -> Float[Tensor, "f 3 h w"]:
        """The frames as a tensor of numbers from 0 to 1, channels first."""
        return rearrange(torch.from_numpy(self.frames.copy()), "f h w c -> f c h w").float() / 255

    def save(self, path: str | Path, format: str | None = None) -> Path:  # noqa: A002
        """Write the video with its request inside, so that it can be made again; returns the path.

        Raises:
            InputError: the format is unknown.
            OutputError: the folder cannot be written or is full.
        """
        return self.video.save(
            Path(path),
            metadata=describe(self.request, self.report),
            format=format,
            sound=self.sound,
        )
