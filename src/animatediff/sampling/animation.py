"""Progress of an animation, and the finished animation."""

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
    """Progress of an animation.

    Attributes:
        stage: ``still``, ``invert``, ``denoise``, ``decode``, or a stage of finishing, such as
            ``upscale``.
        step: finished steps (or frames) of the stage.
        steps: all steps (or frames) of the stage.
        preview: draws a contact sheet of the current frames; costs as much as decoding a few
            frames, so it is only called on demand.
    """

    stage: str
    step: int
    steps: int
    preview: Callable[[], Image]


@dataclass(frozen=True)
class Animation:
    """A finished video, with its request and a report.

    Attributes:
        video: the frames.
        request: the request with all defaults filled in.
        latents: before decoding, in fp32 on the CPU.
        report: device, weights, times, and notes on deviations from the request.
        sound: a file with its audio; ``save`` copies the stream if the format has audio.
    """

    video: Video
    request: AnimationRequest
    latents: Float[Tensor, "1 c f h w"]
    report: Report
    sound: Path | None = None

    @property
    def frames(self) -> UInt8[np.ndarray, "f h w 3"]:
        """Return the frames as sRGB bytes."""
        return self.video.frames

    def to_pil(self) -> list[Image]:
        """Return the frames as pictures of Pillow."""
        from PIL import Image

        return [Image.fromarray(frame) for frame in self.frames]

    def to_torch(self) -> Float[Tensor, "f 3 h w"]:
        """Return the frames as a tensor from 0 to 1, channels first."""
        return rearrange(torch.from_numpy(self.frames.copy()), "f h w c -> f c h w").float() / 255

    def save(
        self,
        path: str | Path,
        format: str | None = None,  # noqa: A002 - the word everybody uses
        *,
        loop: int = 0,
    ) -> Path:
        """Write the video with its request in the metadata (for ``rerun``); return the path.

        Args:
            path: the file.
            format: one of ``FORMATS``; by default what the path ends in.
            loop: how often GIF, WebP and APNG play; 0 is forever.

        Raises:
            InputError: the format is unknown.
            OutputError: the folder cannot be written or is full.
        """
        return self.video.save(
            Path(path),
            metadata=describe(self.request, self.report),
            format=format,
            loop=loop,
            sound=self.sound,
        )
