"""How stock footage looks: every clip with the same watermark, blurred and compressed.

The paper's training videos carry a watermark, motion blur and compression, which the domain adapter is
there to absorb (Sec. 4.1 of Guo et al., arXiv 2307.04725). This gives the built-in world's clips the
same gap, with the one advantage that the clean clip is known.
"""

from __future__ import annotations

import functools
import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

TEXT = "SAMPLE"
BAND = (0.56, 0.74)
"""Top and bottom of the watermark's band, as shares of the height."""
BAND_OPACITY, TEXT_OPACITY = 0.28, 0.75

Frame = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True)
class Degradation:
    """What is done to every frame, the same in all.

    Attributes:
        detail: the share of the resolution that survives.
        blur: radius of a Gaussian blur, in pixels of a 128 px picture.
        quality: of JPEG.
        cast: how much colours fade, 1 being not at all.
        marked: whether the watermark is there.
    """

    detail: float = 0.625
    blur: float = 0.9
    quality: int = 22
    cast: float = 0.85
    marked: bool = True

    def __call__(self, frames: UInt8[np.ndarray, "f height width 3"]) -> np.ndarray:
        """The frames as stock footage shows them."""
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
    """The watermark at a size: how much it covers each pixel, and its brightness there (0 to 1).

    White letters on a dark translucent band, at a fixed place, so that it shows on any background.
    """
    top, bottom = round(BAND[0] * height), round(BAND[1] * height)
    cover = np.zeros((height, width), np.float32)
    cover[top:bottom] = BAND_OPACITY
    brightness = np.zeros((height, width), np.float32)
    letters = Image.new("L", (width, height), 0)
    font = ImageFont.load_default(size=max(6.0, 0.8 * (bottom - top)))
    ImageDraw.Draw(letters).text(
        (width / 2, (top + bottom) / 2), TEXT, fill=255, font=font, anchor="mm"
    )
    drawn = np.asarray(letters, np.float32) / 255
    cover = cover * (1 - drawn) + TEXT_OPACITY * drawn
    brightness = np.maximum(brightness, drawn)
    return cover, brightness


def with_watermark(frame: Frame) -> Frame:
    """A frame under the watermark."""
    cover, brightness = watermark(*frame.shape[:2])
    mark = 255 * brightness[..., None]
    mixed = frame * (1 - cover[..., None]) + mark * cover[..., None]
    return mixed.round().clip(0, 255).astype(np.uint8)
