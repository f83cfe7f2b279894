"""MP4 files whose header asks a player to turn or mirror them, as phones and front cameras write."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np

ONE = 0x10000
MATRICES = {
    "as stored": (ONE, 0, 0, ONE),
    "mirrored left to right": (-ONE, 0, 0, ONE),
    "half a turn": (-ONE, 0, 0, -ONE),
    "upside down, mirrored": (ONE, 0, 0, -ONE),
    "clockwise": (0, ONE, -ONE, 0),
    "anticlockwise": (0, -ONE, ONE, 0),
    "mirrored along one diagonal": (0, ONE, ONE, 0),
    "mirrored along the other": (0, -ONE, -ONE, 0),
}
"""The four numbers a, b, c, d of ``x' = a x + c y``, ``y' = b x + d y``, in 1/65536."""

SHOWN = {
    "as stored": lambda f: f,
    "mirrored left to right": lambda f: f[:, ::-1],
    "half a turn": lambda f: f[::-1, ::-1],
    "upside down, mirrored": lambda f: f[::-1],
    "clockwise": lambda f: np.rot90(f, -1),
    "anticlockwise": lambda f: np.rot90(f),
    "mirrored along one diagonal": lambda f: f.swapaxes(0, 1),
    "mirrored along the other": lambda f: np.rot90(f, 2).swapaxes(0, 1),
}
"""What a player shows of a stored frame."""


def stored_frame() -> np.ndarray:
    """A frame whose four corners differ."""
    frame = np.full((48, 64, 3), 90, np.uint8)
    frame[:24, :32], frame[:24, 32:], frame[24:, :32] = (230, 20, 20), (20, 230, 20), (20, 20, 230)
    return frame


def write(path: Path, name: str) -> Path:
    """Two frames, lossless, with one of the ``MATRICES``."""
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264rgb", rate=8, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "rgb24"
        for _ in range(2):
            frame = av.VideoFrame.from_ndarray(stored_frame(), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    content = path.read_bytes()
    place = content.find(b"tkhd") + 4 + 4 + 20 + 8 + 8
    a, b, c, d = MATRICES[name]
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(content[:place] + matrix + content[place + 36 :])
    return path
