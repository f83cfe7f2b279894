"""Videos: frames and their rate, read from and written to files with metadata."""

from animatediff.video.containers import FORMATS, check_target, read_metadata
from animatediff.video.facts import LEFT_OUT
from animatediff.video.video import Video, grid

__all__ = ["FORMATS", "LEFT_OUT", "Video", "check_target", "grid", "read_metadata"]
