"""Decoding: the right frames of every kind of clip, or one sentence; never fewer frames silently."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cases import (
    jpeg_turned_by_exif,
    phone_jpeg_with_a_gain_map,
    pictures_in_other_colours,
)

from animatediff.data.checking.clip_facts import cuts_in, measure_clip
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Limits, Media
from animatediff.data.decoding.parallel import in_order
from animatediff.errors import FileError

REFUSALS = {
    "bomb.gif": "16,777,216 pixels a frame",
    "bomb.mp4": "16,777,216 pixels a frame",
    "concat.mp4": "only refers to other files",
    "cut short.mp4": "cut short",
    "drawing.mp4": "is a drawing",
    "empty.mp4": "is empty",
    "half.avi": "cut short",
    "half.mp4": "no index",
    "half.webm": "cut short|broken",
    "huge.png": "too large",
    "many.mp4": "1,000,000,000 frames|broken|cut short",
    "no index.mp4": "no index",
    "playlist.mp4": "only refers to other files",
    "sound.mp4": "only sound",
    "text.mp4": "not a readable video or picture",
}


def reds(frames: np.ndarray) -> list[int]:
    """The number that each frame carries."""
    return [
        round(int(frame[frame.shape[0] * 3 // 4, frame.shape[1] // 2, 0]) / 9) for frame in frames
    ]


def test_every_bad_file_is_refused_in_one_sentence_by_the_child(bad_files: dict[str, Path]) -> None:
    assert set(bad_files) == set(REFUSALS)
    with Decoder() as decoder:
        for name, path in bad_files.items():
            for ask in (decoder.decode, decoder.measure):
                with pytest.raises(FileError, match=REFUSALS[name]) as refused:
                    ask(Media(path))
                sentence = str(refused.value)
                assert str(path) in sentence
                assert sentence.count(". ") == 0
                assert sentence.endswith(".")


def test_odd_clips_come_out_frame_for_frame(odd_clips: dict[str, Path]) -> None:
    for name in ("plain", "odd size", "with sound", "negative times"):
        video = decode(Media(odd_clips[name]))
        assert reds(video.frames) == [0, 1, 2, 3, 4, 5], name
    assert decode(Media(odd_clips["odd size"])).frames.shape[1:] == (47, 63, 3)
    assert reds(decode(Media(odd_clips["one frame"])).frames) == [0]
    # What an edit list cuts off is not shown, and not missed either.
    assert reds(decode(Media(odd_clips["edit list"])).frames) == [2, 3, 4, 5]


def test_a_turned_clip_is_shown_upright(odd_clips: dict[str, Path]) -> None:
    plain, turned = decode(Media(odd_clips["plain"])), decode(Media(odd_clips["turned"]))
    assert turned.frames.shape == (6, 64, 48, 3)
    # The phone was held so that what is stored above belongs to the right.
    assert np.array_equal(turned.frames, np.rot90(plain.frames, -1, axes=(1, 2)))


def test_a_varying_rate_becomes_even_by_the_times(odd_clips: dict[str, Path]) -> None:
    video = decode(Media(odd_clips["varying"]), fps=Fraction(25))
    shown = reds(video.frames)
    # Shown from 0, 40, 80, 400, 440 and 1000 ms on.
    assert shown[:2] == [0, 1]
    assert shown[2:10] == [2] * 8
    assert shown[10:11] == [3]
    assert shown[11:25] == [4] * 14
    assert set(shown[25:]) == {5}
    assert measure_clip(Media(odd_clips["varying"]))[0].varying_rate
    assert not measure_clip(Media(odd_clips["plain"]))[0].varying_rate


def test_transparent_is_white_and_hdr_is_for_a_plain_screen(odd_clips: dict[str, Path]) -> None:
    assert (decode(Media(odd_clips["transparent"])).frames > 250).all()
    facts, _ = measure_clip(Media(odd_clips["ten bits"]))
    assert facts.hdr == "PQ"
    frames = decode(Media(odd_clips["ten bits"])).frames
    assert len(frames) == 6
    # 200 of 255 is 1555 nits in PQ: beyond white here, where a plain reading leaves it at 200.
    assert frames[0, 10, 10, 1] > 240


@pytest.mark.parametrize(("fps", "count"), [(24, 48), (12, 24), (8, 16), (30, 60), (7, 14)])
def test_a_rate_is_kept_by_dropping_or_repeating(
    fps: int,
    count: int,
    tmp_path: Path,
    write_clip: Callable[..., Path],
    numbered_frames: Callable[..., np.ndarray],
) -> None:
    path = write_clip(tmp_path / "a.mkv", numbered_frames(28)[np.arange(48) // 2])
    video = decode(Media(path), fps=Fraction(fps))
    assert video.num_frames == count
    wanted = [int(Fraction(2 * k + 1, 2 * fps) * 24) // 2 for k in range(count)]
    assert reds(video.frames) == wanted


def test_a_window_of_a_clip_is_the_same_as_that_part_of_all_of_it(
    tmp_path: Path, write_clip: Callable[..., Path], numbered_frames: Callable[..., np.ndarray]
) -> None:
    for name in ("a.mp4", "a.mkv"):
        path = write_clip(tmp_path / name, numbered_frames(28), options={"qp": "0", "g": "5"})
        whole = decode(Media(path)).frames
        part = decode(Media(path), start=10 / 24, end=20 / 24).frames
        assert np.array_equal(part, whole[10:20]), name
        few = decode(Media(path), start=13 / 24, count=4).frames
        assert np.array_equal(few, whole[13:17]), name
        with pytest.raises(FileError, match="ends before"):
            decode(Media(path), start=5.0)


def test_a_size_is_covered_and_cut_in_the_middle(odd_clips: dict[str, Path]) -> None:
    square = decode(Media(odd_clips["plain"]), size=(32, 32)).frames
    assert square.shape == (6, 32, 32, 3)
    assert reds(square) == [0, 1, 2, 3, 4, 5]
    assert decode(Media(odd_clips["plain"]), side=24).frames.shape == (6, 24, 32, 3)
    assert decode(Media(odd_clips["plain"]), side=100).frames.shape == (6, 48, 64, 3)


def test_animations_and_numbered_pictures_are_clips_and_a_picture_is_one_frame(
    tmp_path: Path, numbered_frames: Callable[..., np.ndarray]
) -> None:
    frames = numbered_frames(5)
    pictures = [Image.fromarray(frame) for frame in frames]
    for name in ("a.webp", "a.png"):
        path = tmp_path / name
        pictures[0].save(
            path, save_all=True, append_images=pictures[1:], duration=125, lossless=True
        )
        video = decode(Media(path))
        assert video.fps == 8
        assert np.array_equal(video.frames, frames)
    paths = []
    for index, picture in enumerate(pictures):
        paths.append(tmp_path / f"{index:03d}.png")
        picture.save(paths[-1])
    numbered = decode(Media(tmp_path, pictures=tuple(paths), fps=Fraction(12)))
    assert numbered.fps == 12
    assert np.array_equal(numbered.frames, frames)
    assert np.array_equal(decode(Media(paths[3])).frames, frames[3:4])
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    with pytest.raises(FileError):
        decode(Media(tmp_path, pictures=tuple(paths)))


def test_more_than_the_limits_is_refused(odd_clips: dict[str, Path]) -> None:
    media = Media(odd_clips["plain"])
    for limits in (
        Limits(frames=5),
        Limits(seconds=0.1),
        Limits(kept_pixels=64 * 48 * 5),
        Limits(frame_pixels=1000),
    ):
        with pytest.raises(FileError, match="at most"):
            decode(media, limits=limits)
    assert decode(media, count=5, limits=Limits(kept_pixels=64 * 48 * 5)).num_frames == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_decoder_that_hangs_is_cut_off_and_the_next_clip_is_decoded(
    tmp_path: Path, odd_clips: dict[str, Path]
) -> None:
    pipe = tmp_path / "hangs.mp4"
    os.mkfifo(pipe)
    let_go = threading.Timer(60, lambda: pipe.open("wb").close())  # if nothing cuts it off
    let_go.daemon = True
    let_go.start()
    with Decoder(Limits(timeout=2)) as decoder:
        with pytest.raises(FileError, match="took longer than 2 s"):
            decoder.decode(Media(pipe))
        let_go.cancel()
    with Decoder() as decoder:
        assert decoder.decode(Media(odd_clips["plain"])).num_frames == 6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a named pipe")
def test_a_decoder_that_hangs_ends_though_nobody_is_left_to_stop_it(tmp_path: Path) -> None:
    pipe = tmp_path / "hangs.mp4"
    os.mkfifo(pipe)
    script = (
        "import os, threading\n"
        "from pathlib import Path\n"
        "from animatediff.data.decoding.confined import Decoder\n"
        "from animatediff.data.decoding.media import Limits, Media\n"
        "decoder = Decoder(Limits(timeout=1))\n"
        "start = decoder._start\n"
        "def told(media):\n"
        "    process = start(media)\n"
        "    print(process.pid, flush=True)\n"
        "    threading.Timer(0.2, os._exit, [9]).start()\n"
        "    return process\n"
        "decoder._start = told\n"
        f"decoder.decode(Media(Path({str(pipe)!r})))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 9, ended.stderr
    child = int(ended.stdout)
    for _ in range(100):
        try:
            os.kill(child, 0)
            state = Path(f"/proc/{child}/stat")
            if state.exists() and state.read_text().rpartition(")")[2].split()[0] == "Z":
                return  # ended, and nobody asked how
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.kill(child, 9)
    pytest.fail("the decoder outlived its parent")


def test_a_decoder_that_crashes_is_one_bad_clip(
    odd_clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Decoder() as decoder:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", "false")
            with pytest.raises(FileError, match="crash"):
                decoder.decode(Media(odd_clips["plain"]))
        assert decoder.decode(Media(odd_clips["plain"])).num_frames == 6


def test_a_reader_that_stops_early_leaves_no_decoder_running(odd_clips: dict[str, Path]) -> None:
    used: list[Decoder] = []

    def job(decoder: Decoder, path: Path) -> int:
        used.append(decoder)
        return decoder.decode(Media(path)).num_frames

    results = in_order([odd_clips["plain"]] * 20, job, workers=2)
    assert next(results)[1] == 6
    results.close()
    assert len(used) < 20
    for decoder in used:
        with pytest.raises(FileError, match="closed"):
            decoder.decode(Media(odd_clips["plain"]))


def test_the_child_gives_what_decoding_here_gives(odd_clips: dict[str, Path]) -> None:
    media = Media(odd_clips["varying"])
    with Decoder() as decoder:
        there = decoder.decode(media, fps=Fraction(30000, 1001), size=(40, 30), start=0.04)
        facts, thumbnails = decoder.measure(media)
    here = decode(media, fps=Fraction(30000, 1001), size=(40, 30), start=0.04)
    assert there.fps == here.fps
    assert np.array_equal(there.frames, here.frames)
    assert there.frames.flags.writeable  # as torch wants it
    assert facts == measure_clip(media)[0]
    assert np.array_equal(thumbnails, measure_clip(media)[1])


def test_cuts_are_jumps_and_not_shaking_or_flashes() -> None:
    calm = [0.0, *[0.01] * 10]
    assert cuts_in(calm) == []
    assert cuts_in([*calm, 0.3, *calm[1:]]) == [11]
    assert cuts_in([0.0, *[0.2, 0.25] * 8]) == []
    assert cuts_in([*calm, 0.3, 0.3, *calm[1:]]) == []


def test_pictures_are_clips_as_a_viewer_shows_them(tmp_path: Path) -> None:
    turned = jpeg_turned_by_exif.write(tmp_path / "a.jpg", orientation=6)
    phone = phone_jpeg_with_a_gain_map.write(tmp_path / "b.jpg", orientation=6)
    with Decoder() as decoder:
        for path in (turned, phone):
            facts, _ = decoder.measure(Media(path))
            assert (facts.width, facts.height, facts.frames) == (64, 96, 1)
        frames = decoder.decode(Media(tmp_path, pictures=(phone, turned))).frames
        assert frames.shape == (2, 96, 64, 3)
    deep = decode(Media(pictures_in_other_colours.write_deep(tmp_path / "c.png"))).frames
    assert abs(int(deep[0, 0, 128, 0]) - 128) <= 1
    icc = pictures_in_other_colours.profile(pictures_in_other_colours.EXCHANGED)
    red = np.full((8, 8, 3), (255, 0, 0), np.uint8)
    wide = pictures_in_other_colours.write_wide(tmp_path / "d.png", red, icc)
    assert decode(Media(wide)).frames[0, 0, 0].tolist() == [0, 0, 255]


def test_an_animation_is_turned_in_every_frame(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(jpeg_turned_by_exif.stored(), i, 1)) for i in range(3)]
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in {"a.png": {}, "a.webp": {"lossless": True}}.items():
        path = tmp_path / name
        frames[0].save(path, save_all=True, append_images=frames[1:], exif=exif, **options)
        video = decode(Media(path))
        assert video.frames.shape == (3, 96, 64, 3)
        for frame, stored in zip(video.frames, frames, strict=True):
            assert np.array_equal(frame, np.rot90(np.asarray(stored), -1))
