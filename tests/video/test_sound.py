"""Sound is copied as it is, cut to the length of the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from animatediff.video import Video
from animatediff.video.sound import sound_codec

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


@pytest.fixture(scope="module")
def tone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_with_sound(tmp_path_factory.mktemp("sound") / "tone.mp4", codec="aac")


def test_sound_is_copied_bit_for_bit_and_cut_to_the_pictures(tone: Path, tmp_path: Path) -> None:
    grey = np.full((6, 32, 32, 3), 100, np.uint8)
    path = Video(grey, Fraction(10)).save(tmp_path / "made.mp4", sound=tone)
    theirs, ours = packets(tone), packets(path)
    expected = [data for time, data in theirs if time < 0.6]
    assert [data for _, data in ours] == expected
    assert len(expected) < len(theirs)
    # Times agree to a tick of the container.
    assert all(abs(a - b) < 1e-3 for (a, _), (b, _) in zip(ours, theirs, strict=False))
    back = Video.load(path)
    assert (back.num_frames, back.fps) == (6, 10)


def test_what_a_container_cannot_hold_is_left_out(tone: Path, tmp_path: Path) -> None:
    grey = np.full((3, 32, 32, 3), 100, np.uint8)
    for name in ("made.webm", "made.gif", "made.webp"):
        path = Video(grey, Fraction(10)).save(tmp_path / name, sound=tone)
        assert sound_codec(path) is None
        assert Video.load(path).num_frames == 3


def test_opus_goes_into_webm(tmp_path: Path) -> None:
    theirs = write_with_sound(tmp_path / "tone.webm", codec="libopus", rate=48000)
    grey = np.full((10, 32, 32, 3), 100, np.uint8)
    path = Video(grey, Fraction(10)).save(tmp_path / "made.webm", sound=theirs)
    assert sound_codec(path) == "opus"
    assert [data for _, data in packets(path)] == [d for t, d in packets(theirs) if t < 1]


def test_pictures_and_files_without_sound_have_none(tmp_path: Path) -> None:
    grey = np.full((3, 32, 32, 3), 100, np.uint8)
    silent = Video(grey, Fraction(10)).save(tmp_path / "silent.mp4")
    picture = Video(grey, Fraction(10)).save(tmp_path / "grey.gif")
    assert sound_codec(silent) is None
    assert sound_codec(picture) is None
    assert sound_codec(tmp_path / "nothing.mp4") is None
