"""Against SparseCtrl's change of colours: frames are matched to the nearest picture they were given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from jaxtyping import UInt8

from animatediff.video.colour_match import Pixels, matched
from animatediff.video.containers import Frames


def like_their_pictures(
    frames: Frames, pictures: Mapping[int, Pixels]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Frames in the colours of the picture nearest in time, the earlier of two; as they are if none.

    Raises:
        InputError: OpenCV is not installed.
    """
    if not pictures:
        return frames
    nearest = (min(pictures, key=lambda place: abs(place - i)) for i in range(len(frames)))
    return np.stack(
        [matched(frame, pictures[at]) for frame, at in zip(frames, nearest, strict=True)]
    )
