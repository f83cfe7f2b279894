"""What is done to the frames of a finished video, in one order: interpolation, then playback."""

from __future__ import annotations

from animatediff.finishing.interpolation import interpolated
from animatediff.finishing.playback import there_and_back
from animatediff.video import Video


def finished(
    video: Video, *, interpolate: int = 1, pingpong: bool = False, loop: bool = False
) -> Video:
    """The video as it is written.

    Args:
        video: as it was decoded.
        interpolate: how many times the frame rate; 1 leaves the frames as they are.
        pingpong: play it forwards and then backwards.
        loop: the last frame leads to the first, so frames are drawn between these too.

    Raises:
        InputError: the factor is out of range.
    """
    # Under ping-pong, playback never goes from the last frame to the first.
    video = interpolated(video, interpolate, closed=loop and not pingpong)
    return there_and_back(video) if pingpong else video
