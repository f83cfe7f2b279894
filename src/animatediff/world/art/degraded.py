"""Degrade clips to look like stock footage: watermark, blur and compression.

The paper's training videos have a watermark, motion blur and compression, which the domain adapter
absorbs (Sec. 4.1 of Guo et al., arXiv 2307.04725). This gives the built-in world's clips the same
domain gap, with a known clean clip.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

BAND = (0.5625, 0.75)
"""Top and bottom of the watermark's band, as shares of the height."""
STRIPES = 16
"""How many slanted stripes cross the band: at 128 px one for each column of 8 times smaller latents."""
STRIPE, MARGIN = 3 / 128, 4 / 128
"""How thick a stripe is, and how far from the band's edges it ends, as shares of the width."""
BAND_OPACITY, STRIPE_OPACITY = 0.28, 0.75
_FINER = 4

Frame = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Degradation:
    """A degradation, the same in every frame.

    Attributes:
        detail: remaining share of the resolution.
        blur: radius of a Gaussian blur, in pixels of a 128 px picture.
        quality: JPEG quality.
        cast: factor of the colours' saturation; 1 leaves them unchanged.
        marked: whether to add the watermark.
    """

    detail: float = 0.625
    blur: float = 0.9
    quality: int = 22
    cast: float = 0.85
    marked: bool = True

    def __call__(self, frames: UInt8[np.ndarray, "f height width 3"]) -> np.ndarray:
        """Degrade the frames."""
        return np.stack([self._frame(frame) for frame in frames])

    def _frame(self, frame: Frame) -> Frame:
        height, width = frame.shape[:2]
        picture = Image.fromarray(frame)
        small = max(1, round(width * self.detail)), max(1, round(height * self.detail))
        picture = picture.resize(small, Image.Resampling.BILINEAR)
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        picture = picture.filter(ImageFilter.GaussianBlur(self.blur * width / 128))
        picture = ImageEnhance.Color(picture).enhance(self.cast)
        if self.marked:
            picture = Image.fromarray(with_watermark(np.asarray(picture)))
        packed = io.BytesIO()
        picture.save(packed, "JPEG", quality=self.quality)
        with Image.open(packed, formats=["JPEG"]) as seen:
            return np.asarray(seen.convert("RGB"))


@functools.lru_cache(maxsize=8)
def watermark(height: int, width: int) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Return the watermark at a size: its opacity and its brightness at each pixel, 0 to 1.

    White slanted stripes on a dark translucent band at a fixed place, visible on any background. It has
    stripes rather than letters, because an adapter on attention knows positions only through
    convolutions: it learned this texture in 500 steps, and letters not in 1,000.
    """
    top, bottom = round(BAND[0] * height), round(BAND[1] * height)
    cover = np.zeros((height, width), np.float32)
    cover[top:bottom] = BAND_OPACITY
    finely = Image.new("L", (_FINER * width, _FINER * height), 0)
    draw = ImageDraw.Draw(finely)
    high, low = top + MARGIN * width, bottom - MARGIN * width
    thick = max(1, round(_FINER * STRIPE * width))
    for left in np.linspace(0, width, STRIPES, endpoint=False):
        ends = (left, low, left + width / STRIPES, high)
        draw.line([_FINER * end for end in ends], fill=255, width=thick)
    stripes = finely.resize((width, height), Image.Resampling.BOX)
    brightness = np.asarray(stripes, np.float32) / 255
    cover = cover * (1 - brightness) + STRIPE_OPACITY * brightness
    return cover, brightness


def with_watermark(frame: Frame) -> Frame:
    """Add the watermark to a frame."""
    cover, brightness = watermark(*frame.shape[:2])
    mark = 255 * brightness[..., None]
    mixed = frame * (1 - cover[..., None]) + mark * cover[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8)
