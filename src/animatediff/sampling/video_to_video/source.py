"""What an animation begins from: frames of a file or of a program, laid out over the animation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from animatediff.errors import InputError
from animatediff.sampling.control.hints import rows_of
from animatediff.sampling.options.output import MAX_FRAMES
from animatediff.sampling.video_to_video.options import FramesInMemory
from animatediff.video.containers import Frames
from animatediff.video.fit import FitName, fit_frames
from animatediff.video.material import Material, read_material

GRAIN = 8
"""The sides of an animation are multiples of the model's own side divided by this."""


@dataclass(frozen=True, eq=False)
class Source:
    """Frames to begin from.

    Attributes:
        material: the frames, and their places in time.
        name: what messages call them.
    """

    material: Material
    name: str

    @classmethod
    def read(cls, path: str) -> Source:
        """Read a video, a folder of pictures or a picture.

        Raises:
            FileError: it is missing or cannot be read.
        """
        return cls(read_material(Path(path).expanduser()), path)

    @classmethod
    def of(cls, frames: FramesInMemory) -> Source:
        """Frames in memory: bytes of ``f h w 3``, a tensor ``f 3 h w`` in [0, 1], or pictures.

        Raises:
            InputError: they are not frames of one size.
        """
        found = _bytes_of(frames)
        if found.dtype != np.uint8 or found.ndim != 4 or found.shape[-1] != 3 or 0 in found.shape:
            raise InputError(
                f"init of shape {found.shape} and type {found.dtype} is not a video; give uint8 "
                "frames of shape (frames, height, width, 3), a tensor of shape (frames, 3, height, "
                "width) from 0 to 1, or a list of pictures."
            )
        material = Material(found, tuple(range(len(found))), still=len(found) == 1)
        return cls(material, "init")

    @property
    def rate(self) -> Fraction | None:
        """Frames a second, if known."""
        return self.material.fps

    def count(self, fps: Fraction) -> int | None:
        """How many frames it has at a rate; a picture has as many as are needed."""
        if self.material.still:
            return None
        own = self.material.places[-1] + 1
        return own if self.rate is None else max(1, round(own * fps / self.rate))

    def count_within(self, fps: Fraction) -> int | None:
        """``count``, if one animation can have so many frames.

        Raises:
            InputError: it cannot.
        """
        count = self.count(fps)
        if count is not None and count > MAX_FRAMES:
            raise InputError(
                f"{self.name} has {count} frames at {fps} a second, and an animation has at most "
                f"{MAX_FRAMES}; give fewer with --frames, or a lower rate with --fps."
            )
        return count

    def size(self, side: int) -> tuple[int, int]:
        """Width and height of its shape, with about the area of a square of a model's own side."""
        height, width = self.material.frames.shape[1:3]
        ratio = math.sqrt(width / height)
        grain = max(8, side // GRAIN // 8 * 8)
        across, down = (max(1, round(s / grain)) * grain for s in (side * ratio, side / ratio))
        return across, down

    def laid_out(
        self, *, num_frames: int, fps: Fraction, width: int, height: int, fit: FitName
    ) -> Frames:
        """The frame to begin from for each frame of an animation, at the animation's size.

        If the animation has another rate, each of its frames has the one that is shown at its time.

        Raises:
            InputError: there are too few.
        """
        count = self.count(fps)
        if count is not None and num_frames > count:
            raise InputError(
                f"{self.name} has {count} frames at {fps} a second, and {num_frames} were asked for; "
                "leave --frames out, or ask for fewer."
            )
        places = self.material.places
        if self.material.still:
            rows: Sequence[int] = (0,) * num_frames
        else:
            ratio = Fraction(1) if self.rate is None else self.rate / fps
            whole = rows_of(places, num_frames=places[-1] + 1, missing="nearest")
            rows = [whole[min(int(frame * ratio), len(whole) - 1)] for frame in range(num_frames)]
        used, again = np.unique(np.asarray(rows), return_inverse=True)
        fitted = fit_frames(self.material.frames[used], width=width, height=height, fit=fit)
        return fitted[again]


def _bytes_of(frames: FramesInMemory) -> np.ndarray[Any, Any]:
    if isinstance(frames, Tensor):
        if frames.ndim == 4 and frames.is_floating_point():
            unit = rearrange(frames.detach().cpu().float(), "f c h w -> f h w c").clamp(0, 1)
            return (unit * 255).round().to(torch.uint8).numpy()
        return frames.detach().cpu().numpy()
    if isinstance(frames, np.ndarray):
        return cast("np.ndarray[Any, Any]", frames)
    pictures = [np.asarray(frames[i].convert("RGB")) for i in range(len(frames))]
    if not pictures or len({picture.shape for picture in pictures}) > 1:
        raise InputError(
            "The pictures of init must be of one size, and at least one; resize them first."
        )
    return np.stack(pictures)
