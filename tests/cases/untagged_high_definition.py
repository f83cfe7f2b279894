"""Camera footage in high definition that names no colour matrix: BT.709 numbers without a tag."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace


def write(path: Path, frame: np.ndarray, *, matrix: Colorspace) -> Path:
    """One frame of YUV in that matrix, with no colour tag."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "1"})
        stream.height, stream.width = frame.shape[:2]
        stream.pix_fmt = "yuv420p"
        rgb = av.VideoFrame.from_ndarray(frame, format="rgb24")
        yuv = rgb.reformat(format="yuv420p", dst_colorspace=matrix, dst_color_range=ColorRange.MPEG)
        # The encoder takes tags over from frames; planes alone carry none.
        plain = av.VideoFrame.from_ndarray(yuv.to_ndarray(), format="yuv420p")
        container.mux(stream.encode(plain))
        container.mux(stream.encode(None))
    return path
