"""Motion profile of a clip, independent of what it shows, and its similarity to another clip's.

A similarity transform is fitted to the flow between neighbouring frames (``evaluation/camera.py``).
Two clips that grow, move and turn at the same times have similar profiles, whether they show a
heart or a fox.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.evaluation.camera import registered
from animatediff.evaluation.motion_metrics import SIZE, resized

MotionProfile = Float[np.ndarray, "pairs 4"]
"""For each pair of frames: growth, shift right, shift down and turn.

Units are pixels of a 128 px picture; growth and turn are measured a quarter of the side from the
middle.
"""

ARM = SIZE / 4


def motion_profile(frames: UInt8[np.ndarray, "frames height width 3"]) -> MotionProfile:
    """Return the profile of a clip; that of a single frame is empty.

    Raises:
        InputError: OpenCV is not installed.
    """
    small = resized(frames, side=SIZE)
    pairs = pairwise(small)
    steps = [(ARM * s.zoom, s.right, s.down, ARM * s.turn) for s in (registered(*p) for p in pairs)]
    return np.array(steps).reshape(-1, 4)


def likeness(profile: MotionProfile, other: MotionProfile) -> float:
    """Return the cosine of two profiles of equal length, from -1 to 1; 0 if either stands still."""
    length = float(np.linalg.norm(profile) * np.linalg.norm(other))
    return float((profile * other).sum()) / length if length else 0.0


def likeness_in_any_phase(profile: MotionProfile, other: MotionProfile) -> float:
    """Return the largest ``likeness`` of two profiles of equal length, wherever the first begins.

    A profile that begins later goes on with its first pairs. Any profile gains by this, one without a
    likeness too: compare with a control.
    """
    return max(
        (likeness(np.roll(profile, n, axis=0), other) for n in range(len(profile))), default=0.0
    )


def reach(profile: MotionProfile, *, of: MotionProfile) -> float:
    """Return the extent of a profile along another, relative to that one (least squares)."""
    whole = float((of * of).sum())
    return float((profile * of).sum()) / whole if whole else 0.0
