"""One picture, carried along the motion of a clip.

The clip says how things move, and the picture how they look, as in video made in two stages, motion
first (Motion-I2V, arXiv 2401.15977). Optical flow (DIS, arXiv 1603.03590) from each frame to the first
is smoothed over space and time, which leaves the motion and takes away what boils.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from jaxtyping import Float, UInt8

from animatediff.video.ground import Picture, ground_of, thing_on
from animatediff.video.opencv import LEAST_FLOW_SIDE, opencv

TYPICAL = 0.95 / 128
"""Speed of a typical clip: the share of the picture's side that things move by in 1/8 s. The median of
the built-in world's real clips is 0.956 px at 128 px."""
LEAST_GAIN, MOST_GAIN = 0.5, 6.0
"""How far a clip's motion may be scaled; more would enlarge what is no motion."""

_SIDE = 128
"""Longest side in pixels at which motion is measured."""
_SMOOTH, _STEADY = 14.0, 0.8
"""Standard deviations of the smoothing: in pixels of that side, and in frames."""

Frames = UInt8[np.ndarray, "f h w 3"]
Field = Float[np.ndarray, "down across 2"]
Fields = Float[np.ndarray, "f down across 2"]


def carried(
    picture: Picture,
    frames: Frames,
    *,
    speed: float,
    rate: Fraction | float = 8,
    loop: bool = False,
) -> UInt8[np.ndarray, "f h w 3"]:
    """Return a picture under the motion of a clip; the last frame is the picture again.

    Args:
        picture: what is carried, of the size of the frames.
        frames: the clip that moves.
        speed: of what moves, as a multiple of ``TYPICAL``.
        rate: frames of the clip in a second.
        loop: whether the clip's last frame leads to its first. It is the frame after the last that
            would be the picture again then, so that no frame is shown twice.
    """
    cv2 = opencv()
    height, width = picture.shape[:2]
    scale = min(1.0, _SIDE / max(height, width))
    size = tuple(max(LEAST_FLOW_SIDE, round(side * scale)) for side in (width, height))
    small = np.stack([cv2.resize(f, size, interpolation=cv2.INTER_AREA) for f in frames])
    seen = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    fields = _steady(_fields(small), loop=loop)
    fields = fields - fields[:1] if loop else _closed(fields)
    fields = fields * _gain(fields, seen, speed=speed, rate=float(rate))
    return np.stack([_moved(picture, field) for field in fields])


def _fields(frames: Frames) -> Fields:
    """Return where each pixel of every frame is in the first, (x, y) in pixels, smoothed."""
    cv2 = opencv()
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    weights = [cv2.GaussianBlur(_weight(frame), (0, 0), 1) for frame in frames]
    found = [np.zeros((*grey[0].shape, 2), np.float32)]
    for each, weight in zip(grey[1:], weights[1:], strict=True):
        back = flow.calc(each, grey[0], None)
        found.append(_smooth(back, np.maximum(weight, weights[0])))
    return np.stack(found)


def _weight(frame: Picture) -> Float[np.ndarray, "h w"]:
    """Return 1 where the flow counts: on a thing on a plain ground, or everywhere."""
    ground = ground_of(frame)
    if ground is None:
        return np.ones(frame.shape[:2], np.float32)
    return thing_on(frame, ground).astype(np.float32)


def _smooth(field: Field, weight: Float[np.ndarray, "down across"]) -> Field:
    """Return the weighted mean of a field around each pixel; it goes on beyond the thing."""
    cv2 = opencv()
    total = cv2.GaussianBlur(field * weight[..., None], (0, 0), _SMOOTH)
    return total / (cv2.GaussianBlur(weight, (0, 0), _SMOOTH)[..., None] + 1e-3)


def _steady(fields: Fields, *, loop: bool) -> Fields:
    """Smooth fields over time, which goes round in a loop."""
    reach = 3
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / _STEADY) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    padded = np.pad(
        fields, ((reach, reach), (0, 0), (0, 0), (0, 0)), mode="wrap" if loop else "edge"
    )
    smoothed = np.zeros_like(fields)
    for shift, share in enumerate(kernel):
        smoothed += share * padded[shift : shift + len(fields)]
    return smoothed


def _closed(fields: Fields) -> Fields:
    """Take away what leads from the first frame to the last, so that a clip ends where it began."""
    fields = fields - fields[:1]
    times = np.linspace(0, 1, len(fields), dtype=np.float32)
    return fields - times[:, None, None, None] * fields[-1:]


def _gain(fields: Fields, picture: Picture, *, speed: float, rate: float) -> np.float32:
    """Return the factor that gives the thing its speed, within bounds."""
    thing = _weight(picture) > 0
    steps = np.linalg.norm(np.diff(fields, axis=0), axis=-1)
    moves = float(steps[:, thing].mean()) * rate / 8 if thing.any() else 0.0
    asked = speed * TYPICAL * max(picture.shape[:2])
    return np.float32(np.clip(asked / max(moves, 1e-3), LEAST_GAIN, MOST_GAIN))


def _moved(picture: Picture, field: Field) -> Picture:
    """Fetch every pixel from where a field says, in pixels of the field's own size."""
    cv2 = opencv()
    height, width = picture.shape[:2]
    across, down = width / field.shape[1], height / field.shape[0]
    if field.shape[:2] != (height, width):
        field = cv2.resize(field, (width, height), interpolation=cv2.INTER_LINEAR)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return cv2.remap(
        picture,
        (columns + field[..., 0] * across).astype(np.float32),
        (rows + field[..., 1] * down).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
