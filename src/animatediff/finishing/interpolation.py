"""More frames between the frames of a video, from optical flow: no network and no weights.

Flow is DIS (Kroeger et al., arXiv 1603.03590) in both directions. For a moment between two frames, both
flows are moved to that moment by forward warping with weights, as in softmax splatting (Niklaus and
Liu, arXiv 2003.05534), and both frames are then read along the moved flow by cubic backward warping. A
pixel's weight is its consistency: the flow from the first frame to the second, followed by the flow
back, should return to where it started. Where it does not, the pixel is hidden in the other frame, and
the frame that shows the place decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Literal

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.errors import InputError
from animatediff.video import Video
from animatediff.video.opencv import LEAST_FLOW_SIDE, opencv

MAX_FACTOR = 16
CONSISTENCY = 1.0
"""How fast a pixel's weight falls with the square of its forward-backward error in pixels."""
LEAST_WEIGHT = 1e-3
"""The weight of a pixel without any consistency; it decides only where nothing else does."""
LOST_ABOVE = 3.0
"""The forward-backward error, in pixels, above which a pixel has no match."""
UNLIKE_ABOVE = 48.0
"""The difference in some channel, of 255, between a pixel and its match, above which it is none."""
CUT_ABOVE = 0.5
"""The share of pixels without a match above which two frames are taken for a cut."""

InterpolationMethod = Literal["flow", "blend", "repeat"]
Frame = UInt8[np.ndarray, "height width 3"]
Flow = Float[np.ndarray, "height width 2"]
Between = Callable[[float], Frame]


def interpolated(
    video: Video,
    factor: int,
    *,
    method: InterpolationMethod = "flow",
    closed: bool = False,
) -> Video:
    """A video with ``factor`` times the frame rate and the same frames among its own.

    Args:
        video: at least one frame.
        factor: 1 to 16; 1 returns the video unchanged.
        method: ``flow`` moves pixels, ``blend`` cross-fades, ``repeat`` holds each frame.
        closed: the video is a loop, so that frames are also drawn between the last and the first.

    Returns:
        ``(f - 1) * factor + 1`` frames, or ``f * factor`` of a closed loop; frame ``i * factor`` is
        the input's frame ``i``, byte for byte.

    Raises:
        InputError: the factor is out of range, or OpenCV is not installed.
    """
    return filled(video, factor, between=_METHODS[method], closed=closed)


def filled(
    video: Video, factor: int, *, between: Callable[[Frame, Frame], Between], closed: bool
) -> Video:
    """A video with frames drawn by ``between`` among its own, as ``interpolated``."""
    if not 1 <= factor <= MAX_FACTOR:
        raise InputError(f"interpolate = {factor} is out of range; use 1 to {MAX_FACTOR}.")
    if factor == 1 or (video.num_frames == 1 and not closed):
        return video
    frames = list(_filled(video.frames, factor, between=between, closed=closed))
    return Video(np.stack(frames), Fraction(video.fps) * factor)


def _filled(
    frames: UInt8[np.ndarray, "f height width 3"],
    factor: int,
    *,
    between: Callable[[Frame, Frame], Between],
    closed: bool,
) -> Iterator[Frame]:
    """Every frame, followed by the frames between it and the next."""
    for index, first in enumerate(frames):
        yield first
        is_last = index == len(frames) - 1
        if is_last and not closed:
            return
        draw = between(first, frames[0] if is_last else frames[index + 1])
        for step in range(1, factor):
            yield draw(step / factor)


def held(first: Frame, second: Frame) -> Between:
    """Repeat the first frame instead of drawing one between."""
    del second
    return lambda _t: first


def blended(first: Frame, second: Frame) -> Between:
    """A cross-fade."""

    def draw(t: float) -> Frame:
        return _as_bytes((1 - t) * first.astype(np.float32) + t * second.astype(np.float32))

    return draw


def moved(first: Frame, second: Frame) -> Between:
    """Pixels of both frames, moved along the flow between them; a cut is not bridged."""
    if np.array_equal(first, second):
        return held(first, second)
    if min(first.shape[:2]) < LEAST_FLOW_SIDE:
        return blended(first, second)
    there, back = _flow(first, second), _flow(second, first)
    error, error_back = _round_trip_error(there, back), _round_trip_error(back, there)
    if min(_lost(first, second, there, error), _lost(second, first, back, error_back)) > CUT_ABOVE:
        return lambda t: first if t < 0.5 else second
    weight, weight_back = _weights(error), _weights(error_back)

    def draw(t: float) -> Frame:
        sum_there, share = _splatted(there, t * there, weight)
        sum_back, share_back = _splatted(back, (1 - t) * back, weight_back)
        total = share + share_back
        reached = total > LEAST_WEIGHT / 10
        flow = np.where(
            reached, (sum_there - sum_back) / np.where(reached, total, 1), (there - back) / 2
        )
        from_first = _read_along(first, -t * flow)
        from_second = _read_along(second, (1 - t) * flow)
        counts = (1 - t) * (np.minimum(share, 1) + LEAST_WEIGHT)
        counts_back = t * (np.minimum(share_back, 1) + LEAST_WEIGHT)
        both = counts * from_first + counts_back * from_second
        return _as_bytes(both / (counts + counts_back))

    return draw


_METHODS: dict[str, Callable[[Frame, Frame], Between]] = {
    "flow": moved,
    "blend": blended,
    "repeat": held,
}


def _flow(first: Frame, second: Frame) -> Flow:
    """Where each pixel of the first frame goes, in pixels (x, y)."""
    cv2 = opencv()
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    first_gray, second_gray = (
        cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY) for frame in (first, second)
    )
    return dis.calc(first_gray, second_gray, None)


def _read_along(
    picture: Float[np.ndarray, "height width channels"] | Frame, flow: Flow
) -> Float[np.ndarray, "height width channels"]:
    """The picture at each pixel's place plus the flow there, cubic between pixels."""
    cv2 = opencv()
    y, x = _grid(flow)
    return cv2.remap(
        picture.astype(np.float32),
        x + flow[..., 0].astype(np.float32),
        y + flow[..., 1].astype(np.float32),
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _round_trip_error(there: Flow, back: Flow) -> Float[np.ndarray, "height width"]:
    """How far from its start a pixel ends after the flow there and the flow back, in pixels."""
    return np.linalg.norm(there + _read_along(back, there), axis=-1)


def _lost(
    first: Frame, second: Frame, flow: Flow, error: Float[np.ndarray, "height width"]
) -> float:
    """The share of the first frame's pixels that have no match in the second."""
    difference = np.abs(_read_along(second, flow) - first).max(axis=-1)
    return float(((error > LOST_ABOVE) | (difference > UNLIKE_ABOVE)).mean())


def _weights(error: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "height width"]:
    return np.maximum(np.exp(-CONSISTENCY * error**2), LEAST_WEIGHT).astype(np.float32)


def _splatted(
    values: Float[np.ndarray, "height width channels"],
    flow: Flow,
    weight: Float[np.ndarray, "height width"],
) -> tuple[Float[np.ndarray, "height width channels"], Float[np.ndarray, "height width 1"]]:
    """Values added, weighted and bilinearly, where the flow takes them; and the sums of weights."""
    height, width, channels = values.shape
    y, x = _grid(flow)
    x, y = x + flow[..., 0], y + flow[..., 1]
    left, top = np.floor(x), np.floor(y)
    sums = np.zeros((channels + 1, height * width), np.float64)
    for right, below in ((0, 0), (0, 1), (1, 0), (1, 1)):
        column, row = left + right, top + below
        near = (1 - np.abs(x - column)) * (1 - np.abs(y - row)) * weight
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        place, share = (row * width + column)[inside].astype(np.int64), near[inside]
        for channel in range(channels):
            sums[channel] += np.bincount(
                place, weights=share * values[..., channel][inside], minlength=height * width
            )
        sums[-1] += np.bincount(place, weights=share, minlength=height * width)
    maps = np.moveaxis(sums.reshape(-1, height, width).astype(np.float32), 0, -1)
    return maps[..., :channels], maps[..., channels:]


def _grid(flow: Flow) -> tuple[Float[np.ndarray, "height width"], ...]:
    """Row and column of each pixel."""
    height, width, _ = flow.shape
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return y, x


def _as_bytes(picture: Float[np.ndarray, "height width 3"]) -> Frame:
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)
