"""Pictures under an action: each frame of a clip, moved as far as its time asks for."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.video.actions import Action, Affine, largest_fit, scaled
from animatediff.video.ground import Colour, Picture, ground_of, thing_on
from animatediff.video.opencv import opencv

_MARGIN = 1.06
"""How much larger a thing is taken to be, so that it does not touch the border."""


def acted(pictures: UInt8[np.ndarray, "f h w 3"], action: Action) -> UInt8[np.ndarray, "f h w 3"]:
    """Return pictures moved by an action, each to its own frame's place.

    A thing on a plain ground becomes as small as it must be to stay in the picture, and stands on its
    lowest point; the ground's colour goes on. Of any other picture, all of it moves, about its bottom
    edge if the action needs a foot, and the colours of the border go on.

    Args:
        pictures: one for each frame; usually all the same.
        action: what they do.
    """
    ground = ground_of(pictures[0])
    hull = None if ground is None else _hull(pictures[0], ground)
    height, width = pictures[0].shape[:2]
    edges = width / max(height, width), height / max(height, width)
    foot = edges[1] if hull is None else float(hull[:, 1].max())
    size = 1.0
    if hull is not None:
        transforms = action.transforms(len(pictures), foot=foot)
        size = largest_fit(hull * _MARGIN, transforms, edges=edges)
    matrices = action.transforms(len(pictures), foot=foot * size)
    smaller = scaled(size, size)
    return np.stack(
        [_moved(p, m @ smaller, ground) for p, m in zip(pictures, matrices, strict=True)]
    )


def _moved(picture: Picture, matrix: Affine, ground: Colour | None) -> Picture:
    """Move a picture, in coordinates from -1 to 1 along its longer side."""
    cv2 = opencv()
    height, width = picture.shape[:2]
    side = max(height, width) / 2
    pixels = np.array(
        [[side, 0, width / 2 - 0.5], [0, side, height / 2 - 0.5], [0, 0, 1]], dtype=np.float64
    )
    place = pixels @ matrix @ np.linalg.inv(pixels)
    moved = cv2.warpAffine(
        picture,
        place[:2],
        (width, height),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE if ground is None else cv2.BORDER_CONSTANT,
        borderValue=() if ground is None else tuple(map(float, ground)),
    )
    return moved.astype(np.uint8, copy=False)


def _hull(picture: Picture, ground: Colour) -> Float[np.ndarray, "points 2"] | None:
    """Return the convex hull of a thing, in the same coordinates; ``None`` if there is nothing."""
    thing = thing_on(picture, ground)
    if not thing.any():
        return None
    height, width = thing.shape
    points = np.argwhere(thing)[:, ::-1].astype(np.float32)
    hull = opencv().convexHull(points)[:, 0].astype(np.float64)
    return (hull + 0.5 - [width / 2, height / 2]) / (max(height, width) / 2)
