"""Clips under names that are not on every list: a folder as phones, cameras and browsers fill it."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
from PIL import Image

READABLE = ("a.3gp", "b.m2ts", "c.jfif", "d.tiff", "e", "f.y4m", "g.data")
UNSUPPORTED = ("h.heic", "i.jxl", "j.psd", "k.dng", "l.svg")
OTHERS = ("archive.zip",)


def write(folder: Path) -> Path:
    """Seven clips that can be read, five pictures that cannot, and a file that is no clip."""
    folder.mkdir(parents=True, exist_ok=True)
    _video(folder / "a.3gp", "3gp", "mpeg4")
    _video(folder / "b.m2ts", "mpegts", "mpeg2video", {"mpegts_m2ts_mode": "1"})
    picture = Image.fromarray(np.full((48, 64, 3), 90, np.uint8))
    picture.save(folder / "c.jfif", "JPEG")
    picture.save(folder / "d.tiff", "TIFF")
    picture.save(folder / "e", "PNG")
    _video(folder / "f.y4m", "yuv4mpegpipe", "rawvideo")
    _video(folder / "g.data", "mp4", "libx264")
    (folder / "h.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(200))
    (folder / "i.jxl").write_bytes(b"\xff\x0a" + bytes(200))
    (folder / "j.psd").write_bytes(b"8BPS\0\1" + bytes(200))
    picture.save(folder / "k.dng", "TIFF", tiffinfo={254: 1})
    (folder / "l.svg").write_text('<svg xmlns="http://www.w3.org/2000/svg"></svg>')
    (folder / "archive.zip").write_bytes(b"PK\3\4" + bytes(200))
    (folder / "README").write_text("the freedom of text, BM and all")
    (folder / "song.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(200))
    return folder


def _video(path: Path, kind: str, codec: str, options: dict[str, str] | None = None) -> None:
    with av.open(str(path), "w", format=kind, options=options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(5):
            frame = np.full((48, 64, 3), 30 * index, np.uint8)
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24").reformat(format="yuv420p")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
