"""The picture of a request, its latents, and how well frame 0 of the result agrees with it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from animatediff.errors import FileError
from animatediff.sampling.settled import Settled
from animatediff.sampling.video_to_video.encode import encoded
from animatediff.sampling.video_to_video.source import Source
from animatediff.video.fit import fit_frames
from animatediff.video.material import read_material
from animatediff.weights.image_model.base_model import BaseModel

if TYPE_CHECKING:
    from animatediff.sampling.request import AnimationRequest

Pixels = UInt8[np.ndarray, "height width 3"]


def picture_source(request: AnimationRequest) -> Source | None:
    """The picture as something whose shape an animation takes over; nothing if there is none.

    Raises:
        FileError: it is missing, or no picture.
    """
    return Source.read(request.image) if request.image else None


def picture_of(settled: Settled) -> Pixels:
    """The picture at the size of the animation.

    Raises:
        FileError: it is missing, or a video.
    """
    path = Path(settled.request.image).expanduser()
    material = read_material(path)
    if not material.still:
        raise FileError(f"{path} has several pictures; give --image one, or --init a video.")
    return fit_frames(
        material.frames,
        width=settled.width,
        height=settled.height,
        fit=settled.request.control_fit,
    )[0]


def picture_latents(picture: Pixels, *, base: BaseModel) -> Float[Tensor, "1 c 1 h w"]:
    """The likeliest latents of a picture, in fp32."""
    return encoded(picture[None], vae=base.vae, device=base.device)


def agreement(picture: Pixels, frame: Pixels) -> float:
    """The peak signal-to-noise ratio of a frame, in dB; infinite if it equals the picture."""
    error = np.mean((picture.astype(np.float64) - frame.astype(np.float64)) ** 2)
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
