"""Find marks that stay in place while the picture behind them changes: watermarks, logos, captions.

The gradient of a mark is the same in every frame, whatever moves behind it, so it survives the median
over frames (Dekel et al., *On the effectiveness of visible watermarks*, 2017). A background that does
not move survives too, so only places whose coarse brightness changes are looked at.

Nothing here imports torch: this runs in the child process of ``data/decoding/confined.py``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8

WIDTH = 256
"""Pixels across at which marks are looked for."""
LEAST_SIDE, MOST_HEIGHT = 16, 512
FRAMES = 12
"""The most frames that are compared."""
FEWEST = 6
"""With fewer frames that differ, nothing can be said."""
DIFFER = 0.02
"""Two frames differ if their correlation is below 1 minus this."""
STRENGTH = 6.0
"""Grey levels by which neighbouring pixels differ at the edge of a mark."""
MOSTLY = 0.1
"""The share of frames in which an edge may be weaker than half of that."""
CELL, CHANGES = 8, 12.0
"""A place changes if the brightness of its cell varies by more levels between its quartiles."""
REACH, CROWD = 4, 16
"""A stroke has so many pixels of edges within so many pixels; specks have fewer."""
LINE = 0.5
"""A row or column with a larger share of edges is the border of a picture with bars."""

Grey = UInt8[np.ndarray, "height width"]


def grey_size(width: int, height: int) -> tuple[int, int]:
    """Return the width and height at which a frame is looked at."""
    scaled = round(height * WIDTH / width)
    return WIDTH, min(max(scaled, LEAST_SIDE), MOST_HEIGHT)


def overlay_share(frames: Sequence[Grey]) -> float:
    """Return the share of a clip's picture that is edges of marks which stay in place.

    Args:
        frames: grey frames spread over the clip, all of the size that ``grey_size`` returns.

    Returns:
        0 if too few frames differ to say anything, or nothing stays in place.
    """
    chosen = _different(frames)
    if len(chosen) < FEWEST:
        return 0.0
    height, width = (side // CELL * CELL for side in chosen[0].shape)
    clip = np.stack([frame[:height, :width] for frame in chosen]).astype(np.float32)
    edges = _lasting_edges(clip) & _changing(clip)[:-1, :-1]
    lines = edges.mean(1, keepdims=True) > LINE, edges.mean(0, keepdims=True) > LINE
    edges &= ~(lines[0] | lines[1])
    return float((edges & (_count_around(edges) >= CROWD)).mean())


def _different(frames: Sequence[Grey]) -> list[Grey]:
    """Choose frames that differ most from each other, so that a clip's still parts count once."""
    if not frames:
        return []
    points = np.stack([frame[::4, ::4].ravel() for frame in frames]).astype(np.float32)
    points -= points.mean(1, keepdims=True)
    points /= np.sqrt((points**2).mean(1, keepdims=True)) + 1e-6
    chosen = [0]
    apart = 1 - points @ points[0] / points.shape[1]
    while len(chosen) < min(FRAMES, len(frames)):
        furthest = int(apart.argmax())
        if apart[furthest] < DIFFER:
            break
        chosen.append(furthest)
        apart = np.minimum(apart, 1 - points @ points[furthest] / points.shape[1])
    return [frames[number] for number in sorted(chosen)]


def _lasting_edges(clip: Float[np.ndarray, "frames h w"]) -> Bool[np.ndarray, "h-1 w-1"]:
    """Return where the gradient is strong and points the same way in almost all frames."""
    across, down = np.diff(clip, axis=2)[:, :-1], np.diff(clip, axis=1)[:, :, :-1]
    usual = np.median(across, axis=0), np.median(down, axis=0)
    strength = np.hypot(*usual)
    along = (across * usual[0] + down * usual[1]) / (strength + 1e-6)
    return (strength > STRENGTH) & (np.quantile(along, MOSTLY, axis=0) > STRENGTH / 2)


def _changing(clip: Float[np.ndarray, "frames h w"]) -> Bool[np.ndarray, "h w"]:
    """Return which cells change, apart from changes of the exposure, which all have in common."""
    count, height, width = clip.shape
    cells = clip.reshape(count, height // CELL, CELL, width // CELL, CELL).mean((2, 4))
    usual = np.median(cells, axis=0)
    rest = np.stack([frame - _exposed(usual, like=frame) for frame in cells])
    low, high = np.percentile(rest, [25, 75], axis=0)
    return ((high - low) > CHANGES).repeat(CELL, 0).repeat(CELL, 1)


def _exposed(
    usual: Float[np.ndarray, "y x"], *, like: Float[np.ndarray, "y x"]
) -> Float[np.ndarray, "y x"]:
    """Return the usual picture in the exposure of another: gain and offset, least absolute error."""
    weights, fitted = np.ones_like(usual), usual
    for _ in range(8):
        total = weights.sum()
        middle, theirs = (weights * usual).sum() / total, (weights * like).sum() / total
        spread = (weights * (usual - middle) ** 2).sum() + 1e-6
        gain = (weights * (usual - middle) * (like - theirs)).sum() / spread
        fitted = theirs + gain * (usual - middle)
        weights = 1 / (np.abs(like - fitted) + 1)
    return fitted


def _count_around(edges: Bool[np.ndarray, "h w"]) -> np.ndarray:
    """Return the number of edge pixels in the square around each pixel."""
    padded = np.pad(edges.astype(np.int32), ((REACH + 1, REACH), (REACH + 1, REACH)))
    sums, side = padded.cumsum(0).cumsum(1), 2 * REACH + 1
    return sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
