"""Turn frames into what a control network reads: edges, lines, tiles, shapes.

OpenCV draws all but HED's soft edges, which need learned weights (``detectors/hed.py``). Poses, depth
and segmentation are drawn by other programs and used as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.errors import InputError
from animatediff.video.opencv import opencv

PreprocessName = Literal["none", "canny", "lineart", "softedge", "hed", "tile", "shape"]
Pixels = UInt8[np.ndarray, "h w 3"]

CANNY_LOW, CANNY_HIGH = 100, 200
"""Thresholds of Canny's method, as ControlNet's authors set them."""
_LINE_WIDTH = 3.0
_LINE_GAIN = 8.0
_TILE = 4
"""A tile net sees pictures at a quarter of their size."""
_NEAR_BACKGROUND = 12
"""Largest difference from the colour of the border, in any channel, that is still background."""
_ELSEWHERE = {
    **dict.fromkeys(("pose", "openpose", "dwpose"), "skeletons"),
    **dict.fromkeys(("depth", "midas", "zoe"), "depth maps"),
    **dict.fromkeys(("normal", "segment", "seg"), "maps"),
}
"""What no package with weights draws that works with ours, by the names that others give it."""
_RIM = 80
"""The grey of a silhouette at its rim; its middle is white."""


def preprocessed(
    frames: UInt8[np.ndarray, "f h w 3"], *, name: PreprocessName
) -> UInt8[np.ndarray, "f h w 3"]:
    """Frames as a control network reads them.

    Args:
        frames: sRGB bytes of one clip, at the size that the network will see.
        name: ``canny`` for white edges of one pixel on black, ``lineart`` for white lines,
            ``softedge`` for soft grey edges (white is the strongest of the clip), ``hed`` for HED's
            soft edges, ``tile`` for a blurred copy, ``shape`` for a shaded silhouette on black,
            ``none`` for the frames.

    Raises:
        InputError: ``hed`` has no weights here.
        FileError: the weights of ``hed`` are missing, broken or something else.
    """
    if name == "none":
        return frames
    if name == "hed":
        from animatediff.video.detectors.hed import hed_edges

        return hed_edges(frames)
    cv2 = opencv()
    if name == "softedge":
        return _softedge(frames, cv2)
    return np.stack([_METHODS[name](frame, cv2) for frame in frames])


def check_preprocess(name: str) -> None:
    """Refuse what is drawn by other programs, such as poses, with what to do instead.

    Raises:
        InputError: it is one of them.
    """
    if name in _ELSEWHERE:
        drawn = _ELSEWHERE[name]
        raise InputError(
            f"{name} needs a detector that does not come with this package; draw the {drawn} with "
            f"another program, and give them as the input with --control-preprocess none."
        )


def _canny(frame: Pixels, cv2: Any) -> Pixels:
    return _as_rgb(cv2.Canny(frame, CANNY_LOW, CANNY_HIGH))


def _lineart(frame: Pixels, cv2: Any) -> Pixels:
    """How much darker each pixel is than its surroundings: dark strokes become white lines."""
    grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32)
    surroundings = cv2.GaussianBlur(grey, (0, 0), _LINE_WIDTH)
    return _as_rgb(np.clip((surroundings - grey) * _LINE_GAIN, 0, 255).astype(np.uint8))


def _softedge(frames: UInt8[np.ndarray, "f h w 3"], cv2: Any) -> UInt8[np.ndarray, "f h w 3"]:
    """The strength of the strongest channel's gradient, smoothed, with its largest value at white.

    The largest value is that of all frames, so that the edges of a clip that fades fade with it. It is
    found first and every frame is drawn again, as the strengths of all frames need much memory.
    """
    most = max((float(_gradient(frame, cv2).max()) for frame in frames), default=0.0)
    gain = 255 / most if most > 1 else 1.0
    drawn = ((_gradient(frame, cv2) * gain).round().astype(np.uint8) for frame in frames)
    return np.stack([_as_rgb(grey) for grey in drawn])


def _gradient(frame: Pixels, cv2: Any) -> Float[np.ndarray, "h w"]:
    smooth = cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 1.0)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return cv2.GaussianBlur(np.hypot(across, down).max(axis=2), (0, 0), 1.0)


def _tile(frame: Pixels, cv2: Any) -> Pixels:
    height, width = frame.shape[:2]
    size = max(1, width // _TILE), max(1, height // _TILE)
    small = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def _shape(frame: Pixels, cv2: Any) -> Pixels:
    """What stands out from the colour of the border, filled, and lighter towards its middle.

    The shading is that of a body which swells from its outline: a guess at depth from shape alone. The
    middle is white in every frame, however large the shape is there and whatever its brightness.
    """
    border = np.concatenate([frame[0], frame[-1], frame[:, 0], frame[:, -1]])
    difference = np.abs(frame.astype(np.int16) - np.median(border, axis=0)).max(axis=2)
    outside = np.pad((difference <= _NEAR_BACKGROUND).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2)  # background that a hole encloses belongs to the shape
    inside = (outside[1:-1, 1:-1] != 2).astype(np.uint8)
    depth = cv2.distanceTransform(np.pad(inside, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    rise = depth / max(float(depth.max()), 1.0)
    swollen = np.sqrt(1 - (1 - rise) ** 2)
    return _as_rgb((inside * (_RIM + (255 - _RIM) * swollen)).round().astype(np.uint8))


def _as_rgb(grey: UInt8[np.ndarray, "h w"]) -> Pixels:
    return np.repeat(grey[..., None], 3, axis=2)


_METHODS: Mapping[str, Callable[[Pixels, Any], Pixels]] = {
    "canny": _canny,
    "lineart": _lineart,
    "tile": _tile,
    "shape": _shape,
}
