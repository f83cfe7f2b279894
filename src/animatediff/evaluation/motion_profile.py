"""What happens from frame to frame, whatever a clip shows, and how like another clip's that is.

A similarity transform is fitted to the flow between neighbouring frames (``evaluation/camera.py``). Two
clips that grow, move and turn at the same times have like courses, a heart and a fox alike.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.evaluation.camera import registered
from animatediff.evaluation.motion_metrics import SIZE, resized

Course = Float[np.ndarray, "pairs 4"]
"""Of each pair of frames: how it grows, goes right, goes down and turns, in pixels of a 128 px picture;
growing and turning as they are felt a quarter of its side from the middle."""

ARM = SIZE / 4


def course_of(frames: UInt8[np.ndarray, "frames height width 3"]) -> Course:
    """The course of a clip; one of a single frame has none.

    Raises:
        InputError: OpenCV is not installed.
    """
    small = resized(frames, side=SIZE)
    pairs = pairwise(small)
    steps = [(ARM * s.zoom, s.right, s.down, ARM * s.turn) for s in (registered(*p) for p in pairs)]
    return np.array(steps).reshape(-1, 4)


def likeness(course: Course, other: Course) -> float:
    """The cosine between two courses of as many frames, from -1 to 1; 0 where either stands still."""
    length = float(np.linalg.norm(course) * np.linalg.norm(other))
    return float((course * other).sum()) / length if length else 0.0


def reach(course: Course, *, of: Course) -> float:
    """How far a course goes the way of another, as a share of it (least squares)."""
    whole = float((of * of).sum())
    return float((course * of).sum()) / whole if whole else 0.0
