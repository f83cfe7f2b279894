"""Clips of every kind that people have, and files that only look like clips, written on the spot."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image


def ramp(count: int, *, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Frames whose red tells their number: 9 more each time."""
    frames = np.zeros((count, size[1], size[0], 3), np.uint8)
    frames[..., 0] = (np.arange(count) * 9 % 256)[:, None, None]
    frames[:, : size[1] // 2, :, 1] = 200  # green above, so that turning shows
    return frames


def write_clip(
    path: Path,
    frames: np.ndarray,
    *,
    fps: int = 24,
    codec: str = "libx264rgb",
    pixels: str = "rgb24",
    options: Mapping[str, str] | None = None,
    times: Sequence[int] | None = None,
    sound: bool = False,
    muxing: Mapping[str, str] | None = None,
    trc: int | None = None,
) -> Path:
    with av.open(str(path), "w", options=dict(muxing or {})) as container:
        stream: Any = container.add_stream(codec, rate=fps, options=dict(options or {"qp": "0"}))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], pixels
        stream.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
        if trc is not None:
            stream.codec_context.color_trc = trc
        noise: Any = container.add_stream("aac", rate=16000) if sound else None
        for index, pixels_of in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(pixels_of),
                format="rgba" if pixels_of.shape[-1] == 4 else "rgb24",
            )
            if times:
                picture.pts, picture.time_base = times[index], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if noise:
            _write_sound(container, noise, seconds=2 * len(frames) / fps)
    return path


def _write_sound(container: Any, stream: Any, *, seconds: float) -> None:
    for index in range(int(seconds * 16000 / 1024) + 1):
        samples = np.zeros((1, 1024), np.float32)
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, index * 1024
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _turned(mp4: bytes, matrix: tuple[int, ...]) -> bytes:
    """The same file, asking to be turned when it is shown."""
    place = mp4.find(b"tkhd") + 4 + 4 + 20 + 8 + 8
    return mp4[:place] + struct.pack(">9i", *matrix) + mp4[place + 36 :]


def odd_clips(folder: Path) -> dict[str, Path]:
    """Clips that are whole, though not as one expects."""
    folder.mkdir()
    few = ramp(6)
    plain = write_clip(folder / "plain.mp4", few).read_bytes()
    (folder / "turned.mp4").write_bytes(
        _turned(plain, (0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000))
    )
    see_through = np.concatenate([few, np.zeros_like(few[..., :1])], axis=-1)
    return {
        "plain": folder / "plain.mp4",
        "turned": folder / "turned.mp4",
        "varying": write_clip(folder / "vfr.mp4", few, times=[0, 40, 80, 400, 440, 1000]),
        "odd size": write_clip(
            folder / "odd.mkv", ramp(6, size=(63, 47)), codec="ffv1", pixels="bgr0", options={}
        ),
        "one frame": write_clip(folder / "one.mp4", few[:1]),
        "negative times": write_clip(folder / "neg.mkv", few, times=[-80, -40, 0, 40, 80, 120]),
        "edit list": write_clip(folder / "edit.mp4", few, times=[-80, -40, 0, 40, 80, 120]),
        "ten bits": write_clip(
            folder / "ten.mp4",
            few,
            codec="libx264",
            pixels="yuv420p10le",
            options={"crf": "1"},
            trc=16,
        ),
        "transparent": write_clip(
            folder / "clear.webm",
            see_through,
            codec="libvpx-vp9",
            pixels="yuva420p",
            options={"lossless": "1"},
        ),
        "with sound": write_clip(folder / "sound.mp4", few, sound=True),
    }


def bad_files(folder: Path) -> dict[str, Path]:
    """Files that must be refused, by what is wrong with them."""
    folder.mkdir()
    frames = np.random.default_rng(0).integers(0, 256, (12, 48, 64, 3), dtype=np.uint8)
    whole = write_clip(folder / "whole.mp4", frames, muxing={"movflags": "faststart"}).read_bytes()
    plain = write_clip(folder / "whole-2.mp4", frames).read_bytes()
    webm = write_clip(
        folder / "whole.webm", frames, codec="libvpx-vp9", pixels="yuv420p", options={}
    )
    avi = write_clip(folder / "whole.avi", frames, codec="mpeg4", pixels="yuv420p", options={})
    contents = {
        "cut short.mp4": whole[: len(whole) * 7 // 10],
        "no index.mp4": plain[: plain.find(b"moov") - 4],
        "half.mp4": plain[: len(plain) // 2],
        "half.webm": webm.read_bytes()[: webm.stat().st_size // 2],
        "half.avi": avi.read_bytes()[: avi.stat().st_size // 2],
        "empty.mp4": b"",
        "text.mp4": b"this is no video, whatever its name says" * 20,
        "playlist.mp4": b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/secret.ts\n",
        "concat.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "drawing.mp4": b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///x"/></svg>',
        "huge.png": _png_header(16384, 16384),
        "many.mp4": _with_samples(plain, 10**9),
    }
    for path in (webm, avi, folder / "whole.mp4", folder / "whole-2.mp4"):
        path.unlink()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    bomb = np.zeros((1, 4096, 4096, 3), np.uint8)
    write_clip(
        folder / "bomb.mp4",
        bomb,
        codec="mpeg4",
        pixels="yuv420p",
        options={"qscale": "31"},
    )
    few = [Image.new("L", (8, 8), shade) for shade in (0, 255)]
    few[0].save(folder / "bomb.gif", save_all=True, append_images=few[1:])
    gif = (folder / "bomb.gif").read_bytes()
    (folder / "bomb.gif").write_bytes(gif[:6] + struct.pack("<HH", 4096, 4096) + gif[10:])
    with av.open(str(folder / "sound.mp4"), "w") as container:
        _write_sound(container, container.add_stream("aac", rate=16000), seconds=1)
    return {path.name: path for path in sorted(folder.iterdir())}


def _png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"\0" * 4096))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + data + chunk(b"IEND", b"")


def _with_samples(mp4: bytes, count: int) -> bytes:
    """The same file, claiming so many frames of one byte each."""
    place = mp4.find(b"stsz") + 4
    claim = struct.pack(">III", 0, 1, count)
    mp4 = mp4[:place] + claim + mp4[place + 12 :]
    place = mp4.find(b"stts") + 4
    return mp4[:place] + struct.pack(">IIII", 0, 1, count, 512) + mp4[place + 16 :]
