"""What a request asks to be done to the decoded frames, in this order: interpolation, ping-pong."""

from __future__ import annotations

from animatediff.finishing.interpolation import interpolated
from animatediff.finishing.playback import there_and_back
from animatediff.sampling.request import AnimationRequest
from animatediff.video import Video


def finished(video: Video, request: AnimationRequest) -> Video:
    """The video as it is written.

    Args:
        video: as it was decoded.
        request: which of these steps it takes.
    """
    # Frames between the last and the first exist only where playback leads from one to the other.
    is_loop = request.loop and not request.pingpong
    video = interpolated(video, request.interpolate, closed=is_loop)
    return there_and_back(video) if request.pingpong else video
