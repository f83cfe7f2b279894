"""Videos: frames and their rate, read from and written to files with metadata."""

from animatediff.video.containers import FORMATS, read_metadata
from animatediff.video.facts import LEFT_OUT
from animatediff.video.video import Video, grid

__all__ = ["FORMATS", "LEFT_OUT", "Video", "grid", "read_metadata"]
