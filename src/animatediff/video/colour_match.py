"""Match the colours of frames to a picture: mean and spread of each channel, in CIE Lab.

Reinhard et al., "Color transfer between images", IEEE CG&A 21(5), 2001, in the Lab space of OpenCV.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.video.opencv import opencv

Pixels = UInt8[np.ndarray, "h w 3"]
_LEAST_SPREAD = 1e-3


def matched(frame: Pixels, picture: Pixels) -> Pixels:
    """A frame with the mean and the standard deviation of a picture in each channel of Lab.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    own, wanted = _lab(frame, cv2), _lab(picture, cv2)
    ratio = _spread(wanted) / np.maximum(_spread(own), _LEAST_SPREAD)
    moved = (own - own.mean((0, 1))) * ratio + wanted.mean((0, 1))
    rgb = cv2.cvtColor(moved.astype(np.float32), cv2.COLOR_Lab2RGB)
    return (rgb.clip(0, 1) * 255).round().astype(np.uint8)


def _lab(frame: Pixels, cv2: Any) -> Float[np.ndarray, "h w 3"]:
    return cv2.cvtColor(frame.astype(np.float32) / 255, cv2.COLOR_RGB2Lab)


def _spread(lab: Float[np.ndarray, "h w 3"]) -> Float[np.ndarray, " 3"]:
    return lab.std((0, 1))
