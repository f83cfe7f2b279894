"""A video as a value: its frames and its rate, read from and written to files that keep its story."""

from animatediff.video.containers import FORMATS, read_metadata
from animatediff.video.facts import LEFT_OUT
from animatediff.video.video import Video, grid

__all__ = ["FORMATS", "LEFT_OUT", "Video", "grid", "read_metadata"]
