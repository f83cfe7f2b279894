"""Videos as cameras, discs and older programs write them, under names that do not say what they are."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

CONTAINERS = {
    "avi": "mpeg4",
    "mpegts": "mpeg2video",
    "flv": "flv1",
    "3gp": "mpeg4",
    "asf": "msmpeg4v3",
    "mpeg": "mpeg1video",
    "mov": "mpeg4",
}
"""FFmpeg's formats, and a codec of each."""


def write(path: Path, container: str, *, frames: int = 4) -> Path:
    """A red video of 64x48 at 25 a second."""
    with av.open(f"file:{path}", "w", format=container) as out:
        stream = out.add_stream(CONTAINERS[container], rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            red = np.full((48, 64, 3), (230, 20, 20), np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(red, format="rgb24")))
        out.mux(stream.encode(None))
    return path
