"""What is done to the frames of a video, in one order: interpolation, enlargement, then playback."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from animatediff.finishing.interpolation import interpolated
from animatediff.finishing.playback import there_and_back
from animatediff.video import Video

OnFrame = Callable[[str, int, int], None]
"""Called with a stage, and how many of its frames are done, of how many."""


@dataclass(frozen=True)
class Finish:
    """The steps of finishing, and their settings.

    Attributes:
        interpolate: how many times the frame rate; 1 leaves the frames as they are.
        interpolator: the file of the network that draws frames; optical flow without one.
        upscale: how many times as wide and high; 1 leaves the frames as they are.
        upscaler: the file of the network that enlarges; only read if ``upscale`` is not 1.
        pingpong: play it forwards and then backwards.
        loop: the last frame leads to the first, so frames are drawn between these too.
        device: where networks run.
    """

    interpolate: int = 1
    interpolator: Path | None = None
    upscale: int = 1
    upscaler: Path | None = None
    pingpong: bool = False
    loop: bool = False
    device: str = "cpu"

    @property
    def is_nothing(self) -> bool:
        """Whether the frames stay as they are."""
        return self.interpolate == 1 and self.upscale == 1 and not self.pingpong


def finished(video: Video, finish: Finish, *, on_frame: OnFrame | None = None) -> Video:
    """The video as it is written.

    Raises:
        InputError: a factor is out of range.
        FileError: the file of a network cannot be used.
    """
    # Under ping-pong, playback never goes from the last frame to the first.
    closed = finish.loop and not finish.pingpong
    if finish.interpolator is None or finish.interpolate == 1:
        video = interpolated(video, finish.interpolate, closed=closed)
    else:
        from animatediff.finishing.network_interpolation import interpolated_by
        from animatediff.weights.interpolators import read_interpolator

        video = interpolated_by(
            read_interpolator(finish.interpolator),
            video,
            finish.interpolate,
            closed=closed,
            device=finish.device,
        )
    if finish.upscale != 1:
        video = _enlarged(video, finish, on_frame=on_frame)
    return there_and_back(video) if finish.pingpong else video


def _enlarged(video: Video, finish: Finish, *, on_frame: OnFrame | None) -> Video:
    from animatediff.finishing.upscaling import check_factor, upscaled
    from animatediff.weights.upscalers import read_upscaler

    height, width = video.frames.shape[1:3]
    check_factor(finish.upscale, width=width, height=height)
    assert finish.upscaler is not None, "an upscaler is chosen where one is needed"

    def done(frames: int) -> None:
        if on_frame is not None:
            on_frame("upscale", frames, video.num_frames)

    return upscaled(
        video,
        finish.upscale,
        upscaler=read_upscaler(finish.upscaler),
        device=finish.device,
        on_frame=done,
    )
