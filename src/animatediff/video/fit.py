"""Bring frames to a size without distorting them: crop, pad, or (if asked for) stretch."""

from __future__ import annotations

from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

FitName = Literal["crop", "pad", "stretch"]
"""``crop`` fills the size and cuts off what is left, ``pad`` shows all of it on black."""


def fit_frames(
    frames: UInt8[np.ndarray, "f h w 3"], *, width: int, height: int, fit: FitName = "crop"
) -> UInt8[np.ndarray, "f height width 3"]:
    """Frames of the given size; both ``crop`` and ``pad`` keep the aspect and the centre."""
    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([_fitted(frame, width=width, height=height, fit=fit) for frame in frames])


def _fitted(
    frame: UInt8[np.ndarray, "h w 3"], *, width: int, height: int, fit: FitName
) -> UInt8[np.ndarray, "height width 3"]:
    picture = Image.fromarray(frame)
    if fit == "stretch":
        return np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS))
    ratios = width / picture.width, height / picture.height
    ratio = max(ratios) if fit == "crop" else min(ratios)
    size = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    scaled = picture.resize(size, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (width, height))
    canvas.paste(scaled, ((width - size[0]) // 2, (height - size[1]) // 2))
    return np.asarray(canvas)
