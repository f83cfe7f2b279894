"""Videos with a tone, and the packets of a video's sound."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 44100


def write_with_sound(path: Path, *, codec: str, rate: int = RATE) -> Path:
    """One second of a tone and of grey frames."""
    with av.open(str(path), "w") as container:
        pictures = container.add_stream(
            "libx264" if path.suffix == ".mp4" else "libvpx-vp9", rate=10
        )
        pictures.width = pictures.height = 32
        pictures.pix_fmt = "yuv420p"
        sound = container.add_stream(codec, rate=rate)
        for _ in range(10):
            grey = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 128, np.uint8), format="rgb24")
            container.mux(pictures.encode(grey))
        container.mux(pictures.encode(None))
        tone = np.sin(np.arange(rate) * 2 * np.pi * 440 / rate).astype(np.float32)[None]
        for start in range(0, rate, 960):
            part = np.ascontiguousarray(tone[:, start : start + 960])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


def packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        found = [p for p in container.demux(stream) if p.pts is not None]
        return [(float(p.pts * p.time_base), bytes(p)) for p in found]
