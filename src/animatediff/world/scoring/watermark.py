"""Detect the watermark of degraded clips with a matched filter.

The mark is at a fixed place (``world/art/degraded.py``), so the correlation of the frame's fine detail
with the mark's detects it. The threshold is set on held-out frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageFilter

from animatediff.errors import InputError
from animatediff.world.art.degraded import BAND, watermark

BLUR = 2.5
"""Radius, in pixels of a 128 px picture, below which detail is fine: about a stripe."""
FALSE_ALARMS = 0.01
"""The share of clean frames that may pass for marked ones, at most, where the two overlap."""

Frames = UInt8[np.ndarray, "frames height width 3"]


@dataclass(frozen=True)
class WatermarkDetector:
    """Detects marked frames.

    Attributes:
        threshold: of ``mark_strength``.
        hits: share of detected marked frames, among those it was set on.
        false_alarms: share of clean frames that are detected as marked.
    """

    threshold: float
    hits: float
    false_alarms: float

    @classmethod
    def learned(
        cls, *, clean: Frames, marked: UInt8[np.ndarray, "others height width 3"]
    ) -> WatermarkDetector:
        """Set the threshold on frames of both kinds.

        In the middle between them where they are apart, and else so that at most one in a hundred
        clean frames is taken for marked.

        Raises:
            InputError: there are none of one kind.
        """
        if not len(clean) or not len(marked):
            raise InputError("A watermark detector needs both clean and marked frames.")
        below, above = mark_strength(clean), mark_strength(marked)
        threshold = (below.max() + above.min()) / 2
        if below.max() >= above.min():
            threshold = np.quantile(below, 1 - FALSE_ALARMS)
        return cls(
            float(threshold),
            float((above > threshold).mean()),
            float((below > threshold).mean()),
        )

    def rate(self, frames: Frames) -> float:
        """Return the share of marked frames."""
        return float((mark_strength(frames) > self.threshold).mean())


def mark_strength(frames: Frames) -> Float[np.ndarray, " frames"]:
    """Return the correlation of a frame's fine detail with the mark's: 1 is equal, 0 is unrelated."""
    height, width = frames.shape[1:3]
    top, bottom = round(BAND[0] * height), round(BAND[1] * height)
    stripes = watermark(height, width)[1]
    pattern = _detail(stripes[None] * 255)[0, top:bottom]
    seen = _detail(frames.astype(np.float32).mean(axis=-1))[:, top:bottom]
    rows = seen.reshape(len(frames), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    mark = pattern.ravel() - pattern.mean()
    norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(mark)
    return rows @ mark / np.maximum(norms, 1e-6)


def _detail(pictures: Float[np.ndarray, "n h w"] | Sequence[np.ndarray]) -> np.ndarray:
    """Return the difference to a blurred frame, compressed so that strong edges do not dominate."""
    result: list[np.ndarray] = []
    for picture in pictures:
        radius = BLUR * picture.shape[1] / 128
        image = Image.fromarray(np.clip(picture, 0, 255).round().astype(np.uint8))
        smooth = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32)
        result.append(np.tanh((np.asarray(picture, np.float32) - smooth) / 20))
    return np.stack(result)
