"""Rotation and mirroring of video frames by their display matrix, in quarter turns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import UInt8


@dataclass(frozen=True)
class Upright:
    """One of the eight ways to show a stored frame.

    Attributes:
        swap: first exchange rows and columns.
        mirror: then exchange left and right.
        flip: then exchange top and bottom.
    """

    swap: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def turned(self) -> int:
        """Degrees of the turn, counterclockwise, after any mirroring of left and right."""
        if self.swap:
            return 270 if self.mirror else 90
        return 180 if self.flip else 0

    def __call__(
        self, stored: UInt8[np.ndarray, "height width 3"]
    ) -> UInt8[np.ndarray, "shown_height shown_width 3"]:
        """Return the frame as a player shows it."""
        shown = stored.swapaxes(0, 1) if self.swap else stored
        shown = shown[:, ::-1] if self.mirror else shown
        return np.ascontiguousarray(shown[::-1] if self.flip else shown)


def upright_of(frame: VideoFrame) -> Upright:
    """Read how a decoded frame is to be shown; unchanged if its file has no display matrix.

    The matrix maps stored to shown pixels, ``x' = a x + c y`` and ``y' = b x + d y`` (ISO/IEC
    14496-12, 6.2.2). Other angles are rounded to quarter turns, as in most players.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Upright()
    a, b, _, c, d = np.frombuffer(bytes(data), np.int32, count=5).tolist()
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Upright(mirror=a < 0, flip=d < 0)
    return Upright(swap=True, mirror=c < 0, flip=b < 0)
