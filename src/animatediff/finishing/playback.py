"""The order in which the frames of a video are played."""

from __future__ import annotations

import numpy as np

from animatediff.video import Video


def there_and_back(video: Video) -> Video:
    """A video forwards and then backwards, without showing its two ends twice in a row.

    Returns:
        ``2 f - 2`` frames, or the video itself if it has fewer than three.
    """
    if video.num_frames < 3:
        return video
    return Video(np.concatenate([video.frames, video.frames[-2:0:-1]]), video.fps)
