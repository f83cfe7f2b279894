"""One's own clips: windows by time, captions, what cannot be used, and what is found again."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.data.checking import probing
from animatediff.data.clips import OwnClips, read_clips
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Limits
from animatediff.data.layouts.detect import list_clips
from animatediff.errors import FileError, InputError, OutputError
from animatediff.runtime import seeded
from animatediff.video import Video


def ramp(count: int, *, size: int = 32) -> np.ndarray:
    """Frames that say their number: each is one grey."""
    greys = (np.arange(count) * 8).astype(np.uint8)
    return np.broadcast_to(greys[:, None, None, None], (count, size, size, 3)).copy()


def read(data: Path, **options: Any) -> OwnClips:
    plain: dict[str, Any] = {"size": 16, "fps": Fraction(8), "num_frames": 4}
    return read_clips(list_clips(data), **plain | options)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    Video(ramp(24), Fraction(24)).save(folder / "fast_fox.mp4")
    Video(ramp(8), Fraction(8)).save(folder / "slow.mp4")
    (folder / "slow.txt").write_text("  a slow\n fox ")
    return folder


def captions(clips: OwnClips) -> list[str]:
    return [source.entry.text for source in clips.sources]


def test_captions_come_from_beside_the_file_or_from_its_name(folder: Path) -> None:
    assert captions(read(folder)) == ["fast fox", "a slow fox"]


def test_frames_are_taken_by_their_times_whatever_the_file_s_rate(folder: Path) -> None:
    source = read(folder).sources[0]
    for start, first in ((0.0, 1), (0.5, 13)):
        window = source.window(start, count=4, fps=Fraction(8), side=32)
        greys = window[:, 16, 16, 0].astype(int)
        # The frame in the middle of each eighth of a second, as `dataset build` takes them.
        assert np.abs(greys - (first + 3 * np.arange(4)) * 8).max() <= 4


def test_a_window_is_what_decoding_gives(folder: Path) -> None:
    clips = read(folder, num_frames=3)
    for index, fps in enumerate((24, 8)):
        seen = clips.footage(index, num_frames=3, generator=seeded(5)).frames
        room = len(ramp(fps)) * 8 // fps - 3
        start = room * float(torch.rand((), generator=seeded(5))) / 8
        wanted = decode(
            clips.sources[index].entry.media, fps=Fraction(8), start=start, count=3, size=(16, 16)
        )
        assert np.array_equal(seen, wanted.frames)


def test_a_clip_that_is_too_short_holds_its_last_frame(folder: Path) -> None:
    clips = read(folder, num_frames=12)
    frames = clips.footage(1, num_frames=12, generator=seeded(0)).frames
    assert frames.shape == (12, 16, 16, 3)
    assert np.array_equal(frames[-1], frames[-3])
    assert clips.notes == ("2 clips: shorter than a window, so the last frame is held",)


def test_a_window_is_a_pure_function_of_clip_and_generator(folder: Path) -> None:
    clips = read(folder, pattern="zoom-in")
    one, two = (clips.footage(0, num_frames=4, generator=seeded(7)).frames for _ in range(2))
    assert np.array_equal(one, two)
    other = clips.footage(0, num_frames=4, generator=seeded(8)).frames
    assert not np.array_equal(one, other)


def test_pictures_count_only_where_they_can_be_learned_from(folder: Path) -> None:
    Image.fromarray(ramp(1)[0]).save(folder / "a.png")
    moving = read(folder)
    assert captions(moving) == ["fast fox", "a slow fox"]
    assert "pictures left out, in which nothing moves: 1" in moving.notes
    assert len(read(folder, num_frames=1)) == 3
    assert len(read(folder, pattern="zoom-in")) == 3
    still = read(folder, num_frames=1).footage(0, num_frames=1, generator=seeded(0))
    assert still.frames.shape == (1, 16, 16, 3)


def test_transparent_pictures_lie_on_white(tmp_path: Path) -> None:
    Image.new("RGBA", (20, 20), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    clips = read(tmp_path, num_frames=1)
    assert (clips.footage(0, num_frames=1, generator=seeded(0)).frames == 255).all()


def test_tables_parts_and_repeats_are_followed(folder: Path) -> None:
    rows = [
        {"file_name": "slow.mp4", "text": "late", "start": 0.5},
        {"file_name": "slow.mp4", "text": "early", "end": 0.5},
    ]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    parts = read(folder)
    seen = {
        source.entry.text: source.window(0.0, count=4, fps=Fraction(8), side=32)[:, 0, 0, 0]
        for source in parts.sources
    }
    assert np.abs(seen["early"].astype(int) - np.arange(4) * 8).max() <= 4
    assert np.abs(seen["late"].astype(int) - np.arange(4, 8) * 8).max() <= 4
    (folder / "metadata.jsonl").unlink()
    settings = folder.parent / "settings.toml"
    settings.write_text(f'[[directory]]\npath = "{folder.name}"\nnum_repeats = 3\n')
    assert captions(read(settings)) == ["fast fox"] * 3 + ["a slow fox"] * 3


def test_a_few_broken_files_are_set_aside_with_their_reasons(folder: Path, tmp_path: Path) -> None:
    for number in range(10):
        (folder / f"copy{number}.mp4").write_bytes((folder / "slow.mp4").read_bytes())
    (folder / "broken.mp4").write_bytes(b"not a video")
    clips = read(folder, records=tmp_path / "records")
    assert len(clips) == 12
    assert list(clips.bad) == ["broken"]
    assert "broken.mp4 is not a readable video" in clips.bad["broken"]
    assert any("1 of 13 clips are set aside" in note for note in clips.notes)
    lines = (tmp_path / "records" / "quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line)["clip"] for line in lines] == ["broken"]


def test_a_folder_that_is_mostly_broken_is_refused_in_one_sentence(
    folder: Path, tmp_path: Path
) -> None:
    whole = (folder / "slow.mp4").read_bytes()
    (folder / "half.mp4").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FileError, match=r"1 of 3 clips .*half\.mp4.*quarantine\.jsonl\.$"):
        read(folder, records=tmp_path / "records")
    # A verdict that stopped a run is no verdict to go on from.
    (folder / "half.mp4").write_bytes(whole)
    assert len(read(folder, records=tmp_path / "records")) == 3


def test_a_decoder_that_hangs_is_cut_off_and_its_clip_set_aside(
    folder: Path, tmp_path: Path
) -> None:
    os.mkfifo(folder / "pipe.mp4")
    clips = read(folder, max_bad=0.5, limits=Limits(timeout=3))
    assert "took longer than 3 s" in clips.bad["pipe"]
    assert len(clips) == 2


def test_verdicts_are_those_of_when_a_run_began_until_a_file_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    measure = Decoder.measure

    def counted(self: Decoder, media: Any, **window: Any) -> Any:
        looked.append(media.path.name)
        return measure(self, media, **window)

    monkeypatch.setattr(Decoder, "measure", counted)
    (folder / "broken.mp4").write_bytes(b"not a video")
    records = tmp_path / "records"
    first = read(folder, records=records, max_bad=0.5)
    assert sorted(looked) == ["broken.mp4", "fast_fox.mp4", "slow.mp4"]
    again = read(folder, records=records, max_bad=0.5)
    assert len(looked) == 3
    assert (again.bad, again.fingerprint()) == (first.bad, first.fingerprint())
    with (records / "surveys.jsonl").open("a") as file:
        file.write('{"clip": "torn')
    (folder / "broken.mp4").write_bytes((folder / "slow.mp4").read_bytes())
    mended = read(folder, records=records, max_bad=0.5)
    assert looked[3:] == ["broken.mp4"]
    assert len(mended) == 3
    assert mended.fingerprint() != first.fingerprint()


def test_many_clips_are_probed_by_several_decoders_with_the_same_result(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "CLIPS_A_WORKER", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    (folder / "broken.mp4").write_bytes(b"not a video")
    several = read(folder, max_bad=0.5)
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    alone = read(folder, max_bad=0.5)
    assert (several.sources, several.bad) == (alone.sources, alone.bad)


@pytest.mark.parametrize(
    "harm",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(path.read_bytes()[:600]),
        lambda path: Video(ramp(2), Fraction(8)).save(path),
    ],
    ids=["gone", "cut short", "shorter"],
)
def test_a_clip_that_fails_after_it_was_probed_is_one_sentence(
    harm: Callable[[Path], object], folder: Path
) -> None:
    clips = read(folder, num_frames=8)
    harm(folder / "slow.mp4")
    with pytest.raises(FileError, match=r"slow\.mp4 .*could be read when the run began") as told:
        clips.footage(1, num_frames=8, generator=seeded(0))
    assert "\n" not in str(told.value)


def test_records_that_cannot_be_written_are_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="choose another --work"):
        read(folder, records=tmp_path / "file" / "records")


def test_a_folder_that_is_missing_or_empty_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There is no .*absent"):
        read(tmp_path / "absent")
    with pytest.raises(InputError, match="contains no clips"):
        read(tmp_path)
    Image.fromarray(ramp(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="holds no videos to learn from"):
        read(tmp_path)


def test_the_fingerprint_is_of_what_is_learned_and_not_of_where_it_lies(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    moved = tmp_path_factory.mktemp("moved")
    for path in folder.iterdir():
        (moved / path.name).write_bytes(path.read_bytes())
    before = read(folder).fingerprint()
    assert read(moved).fingerprint() == before
    (moved / "slow.txt").write_text("another fox")
    assert read(moved).fingerprint() != before
    assert read(folder, pattern="pan-left").fingerprint() != before
    assert read(folder, fps=Fraction(12)).fingerprint() != before


def test_some_of_the_clips_can_be_chosen_in_the_order_of_their_names(folder: Path) -> None:
    assert captions(read(folder, first=1, count=1)) == ["a slow fox"]
    for first, count in ((1, 2), (2, None)):
        with pytest.raises(InputError, match="too few"):
            read(folder, first=first, count=count)


def test_no_window_is_ever_mirrored(tmp_path: Path) -> None:
    """Left stays left: training mirrors no clip at all, whatever its caption says."""
    half = np.zeros((6, 32, 32, 3), np.uint8)
    half[:, :, 16:] = 255
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a fox runs left", "a fox"):
        Video(half, Fraction(8)).save(folder / f"{name}.mp4")
    clips = read(folder)
    assert all(right > left for left, right in sides(clips, range(2), draws=20))


def sides(clips: OwnClips, indices: Iterable[int], *, draws: int) -> list[tuple[float, float]]:
    return [
        (float(frames[:, :, :8].mean()), float(frames[:, :, 8:].mean()))
        for index in indices
        for draw in range(draws)
        for frames in [clips.footage(index, num_frames=4, generator=seeded(draw)).frames]
    ]


def test_randomness_comes_from_the_generator_alone(folder: Path) -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    read(folder, pattern="tilt-up").footage(0, num_frames=4, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
