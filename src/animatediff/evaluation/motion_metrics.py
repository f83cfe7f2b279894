"""Motion of a clip: optical flow of the foreground, and whether the clip is frozen.

Real and generated clips are measured alike: on white, at 128 px, between frames 1/8 s apart, over
pixels that differ from white. Flow is DIS (Kroeger et al., arXiv 1603.03590), by OpenCV.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, UInt8
from PIL import Image

from animatediff.video.opencv import LEAST_FLOW_SIDE, opencv

SIZE = 128
FLOW_RATE = 8
FROZEN_BELOW = 0.01
INK_ABOVE = 0.1

Frames = UInt8[np.ndarray, "frames height width 3"]
FlowBetween = Callable[
    [UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width 3"]],
    Float[np.ndarray, "height width 2"],
]
"""Where each pixel of the first frame went in the second, (x, y) in px: DIS, or RAFT."""

DYNAMIC_PIXELS, DYNAMIC_LENGTH, DYNAMIC_PAIRS = 0.05, 6 / 256, 4 / 16
"""VBench's dynamic degree: the fastest 5 % of pixels, 6 px at 256 px, 4 pairs of 16 frames."""


def foreground_of(frames: Frames) -> Bool[np.ndarray, "frames height width"]:
    """Return the pixels that differ from white in some channel by more than a tenth of full scale."""
    return frames.min(axis=-1) < 255 * (1 - INK_ABOVE)


def foreground_flow(
    frames: Frames, *, fps: Fraction | float = FLOW_RATE, flow: FlowBetween | None = None
) -> float:
    """Return the mean length of the foreground's flow, in px per 1/8 s of a 128 px picture.

    Args:
        frames: the clip on white; a single frame has no flow.
        fps: its rate. Frames nearest to 1/8 s apart are compared, and the flow is scaled to 1/8 s.
        flow: the optical flow; DIS by default.

    Returns:
        The mean over the foreground pixels of each pair's first frame, then over pairs; 0 without
        any foreground.
    """
    stride = max(1, round(float(fps) / FLOW_RATE))
    eighths = stride * FLOW_RATE / float(fps)
    small = resized(frames, side=SIZE)
    ink = foreground_of(small)
    between = flow or flow_between
    lengths = [
        np.linalg.norm(between(small[first], small[first + stride]), axis=-1)[ink[first]].mean()
        for first in range(len(small) - stride)
        if ink[first].any()
    ]
    return float(np.mean(lengths)) / eighths if lengths else 0.0


def flow_between(
    first: UInt8[np.ndarray, "height width 3"], second: UInt8[np.ndarray, "height width 3"]
) -> Float[np.ndarray, "height width 2"]:
    """Return where each pixel of ``first`` went in ``second``, (x, y) in px, by DIS (medium preset).

    DIS needs 16 px a side, so the border of smaller frames goes on up to there.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    dense = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    height, width = first.shape[:2]
    beyond = ((0, max(0, LEAST_FLOW_SIDE - height)), (0, max(0, LEAST_FLOW_SIDE - width)))
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    before, after = (np.pad(frame, beyond, mode="edge") for frame in grey)
    return dense.calc(before, after, None)[:height, :width]


def warp_error(frames: Frames, *, flow: FlowBetween | None = None) -> float:
    """How much neighbouring frames differ once the optical flow between them is undone.

    Smooth motion of one thing leaves little; boiling and changes of shape leave much. Frames are
    compared at 128 px over the first frame's foreground.

    Args:
        frames: the clip on white, at 8 frames a second.
        flow: the optical flow; DIS by default.

    Returns:
        The mean absolute difference as a share of full scale; 0 where there is no foreground.
    """
    cv2 = opencv()
    small = resized(frames, side=SIZE)
    ink = foreground_of(small)
    columns, rows = np.meshgrid(
        np.arange(SIZE, dtype=np.float32), np.arange(SIZE, dtype=np.float32)
    )
    errors: list[float] = []
    for first, second, seen in zip(small[:-1], small[1:], ink[:-1], strict=True):
        if not seen.any():
            continue
        moved = (flow or flow_between)(first, second)
        back = cv2.remap(
            second,
            columns + moved[..., 0],
            rows + moved[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(255,) * 3,
        )
        errors.append(float(np.abs(back.astype(np.float32) - first)[seen].mean()) / 255)
    return float(np.mean(errors)) if errors else 0.0


def flicker(frames: Frames) -> float:
    """Return VBench's temporal flickering: 1 minus the mean absolute change between neighbours.

    It is 1 for a video that never moves, and falls with motion too (arXiv 2311.17982).
    """
    if len(frames) < 2:
        return 1.0
    change = np.abs(np.diff(frames.astype(np.int16), axis=0))
    return 1 - float(change.mean()) / 255


def is_dynamic(
    frames: Frames, *, fps: Fraction | float = FLOW_RATE, flow: FlowBetween | None = None
) -> bool:
    """Return VBench's dynamic degree of one video (arXiv 2311.17982): whether it moves much.

    At about 8 frames a second, the fastest 5 % of pixels move more than 6 px of 256 in at least a
    quarter of the pairs (4 of 16 frames). VBench takes RAFT for the flow; with DIS the numbers are
    not VBench's.

    Args:
        frames: the clip, at its own size.
        fps: its rate.
        flow: the optical flow; DIS by default.
    """
    kept = frames[:: max(1, round(float(fps) / FLOW_RATE))]
    if len(kept) < 2:
        return False
    between = flow or flow_between
    limit = DYNAMIC_LENGTH * min(frames.shape[1:3])
    fast = 0
    for first, second in itertools.pairwise(kept):
        lengths = np.sort(np.linalg.norm(between(first, second), axis=-1).ravel())
        count = max(1, int(len(lengths) * DYNAMIC_PIXELS))
        fast += bool(lengths[-count:].mean() > limit)
    return fast >= max(1, round(DYNAMIC_PAIRS * len(kept)))


def carried(
    frame: UInt8[np.ndarray, "height width 3"], matrix: Float[np.ndarray, "2 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Move each pixel of a frame by an affine map; uncovered pixels are white.

    Raises:
        InputError: OpenCV is not installed.
    """
    cv2 = opencv()
    return cv2.warpAffine(
        frame, matrix, frame.shape[1::-1], borderMode=cv2.BORDER_CONSTANT, borderValue=(255,) * 3
    )


def largest_change(frames: Frames) -> float:
    """Return the largest mean absolute change of any frame from the first, as a share of full scale."""
    if len(frames) < 2:
        return 0.0
    difference = np.abs(frames[1:].astype(np.int16) - frames[:1])
    return float(difference.mean(axis=(1, 2, 3)).max()) / 255


def resized(frames: Frames, *, side: int) -> UInt8[np.ndarray, "frames {side} {side} 3"]:
    """Resize frames to squares of ``side`` px, averaging when shrinking."""
    if frames.shape[1:3] == (side, side):
        return frames
    return np.stack(
        [
            np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BOX))
            for frame in frames
        ]
    )
