"""Edge agreement: precision and recall of drawn edges against the hint's, within a few pixels.

This is how boundary detectors are scored (Martin et al., 2004), but every pixel is matched with the
nearest one, whatever else that one is matched with.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, UInt8

from animatediff.video.opencv import opencv
from animatediff.video.preprocess import PreprocessName, preprocessed

TOLERANCE = 2.0
"""Pixels that an edge may be off."""

Lines = Bool[np.ndarray, "frames height width"]


def lines_of(frames: UInt8[np.ndarray, "frames height width 3"], *, hint: PreprocessName) -> Lines:
    """The edges of frames, or the outlines of their shapes for the hint ``shape``.

    Raises:
        InputError: OpenCV is not installed.
    """
    if hint != "shape":
        return preprocessed(frames, name="canny")[..., 0] > 0
    filled = (preprocessed(frames, name="shape") > 0).astype(np.uint8) * 255
    return preprocessed(filled, name="canny")[..., 0] > 0


def agreement(drawn: Lines, asked: Lines, *, tolerance: float = TOLERANCE) -> float:
    """The mean F-score of drawn lines against those of the hints, frame by frame.

    Precision is the share of drawn pixels within ``tolerance`` of one that was asked for, recall the
    share of asked ones within it of a drawn one. A frame without lines on one side scores 0, and one
    without any on both sides is left out.

    Raises:
        InputError: OpenCV is not installed.
    """
    scores = [
        _f_score(have, want, tolerance=tolerance)
        for have, want in zip(drawn, asked, strict=True)
        if have.any() or want.any()
    ]
    return float(np.mean(scores)) if scores else 1.0


def _f_score(
    drawn: Bool[np.ndarray, "height width"],
    asked: Bool[np.ndarray, "height width"],
    *,
    tolerance: float,
) -> float:
    if not drawn.any() or not asked.any():
        return 0.0
    precision = _near(drawn, asked, tolerance=tolerance)
    recall = _near(asked, drawn, tolerance=tolerance)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _near(
    these: Bool[np.ndarray, "height width"],
    those: Bool[np.ndarray, "height width"],
    *,
    tolerance: float,
) -> float:
    cv2 = opencv()
    away = cv2.distanceTransform((~those).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((away[these] <= tolerance).mean())
