"""Video files: every container gives back its frames, its exact rate and its facts."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from tests.cases.file_names import NAMES

from animatediff.apps.destination import check_writable
from animatediff.errors import FileError, InputError, OutputError
from animatediff.video import FORMATS, Video, check_target, grid, read_metadata

EXACT = {"webp", "apng", "png", "mkv", "png16"}
FACTS = {
    "parameters": 'a "fox" ثعلب 狐狸 🦊\nsecond line: a, b\\c',
    "animatediff": '{"long": "' + "é" * 50_000 + '"}',
}


def smooth(*, frames: int = 6, height: int = 65, width: int = 67) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    shades = [
        np.stack(
            [127 + 120 * np.sin((x + 3 * i) / 12), 127 + 120 * np.cos(y / 9 + i / 5), x + y], -1
        )
        for i in range(frames)
    ]
    return np.stack(shades).astype(np.uint8)


@pytest.mark.parametrize("fps", ["8", "30000/1001", "25/2"])
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_video_comes_back_from_every_container(tmp_path: Path, suffix: str, fps: str) -> None:
    frames = smooth()
    frames[3], frames[5] = frames[2], frames[4]  # equal neighbours must not be lost
    path = Video(frames, Fraction(fps)).save(tmp_path / f"a.{suffix}", metadata=FACTS)
    back = Video.load(path)
    assert back.fps == Fraction(fps)
    assert back.frames.shape == frames.shape
    assert {key: read_metadata(path)[key] for key in FACTS} == FACTS
    error = np.square(back.frames.astype(float) - frames).mean()
    if suffix in EXACT:
        assert error == 0
    elif suffix != "gif":
        assert 10 * np.log10(255**2 / error) > 33


@pytest.mark.parametrize("suffix", FORMATS)
def test_any_name_is_a_name(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """FFmpeg takes ``fox: a hare.mp4`` for an address, and image writers ``%03d`` for a number."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        path = Path(f"{name}.{suffix}")
        check_target(path, kind=suffix, count=2)
        assert not list(tmp_path.iterdir())
        written = Video(smooth(frames=2), Fraction(8)).save(path, metadata={"prompt": "a fox"})
        assert Video.load(written).num_frames == 2
        assert read_metadata(written)["prompt"] == "a fox"
        assert [p.name for p in tmp_path.iterdir()] == [written.name]
        shutil.rmtree(written) if written.is_dir() else written.unlink()


@pytest.mark.parametrize(
    ("name", "words"),
    [("a" * 300 + ".mp4", "too long"), ("a\0b.mp4", "not a name"), ("taken.mp4", "a folder of")],
)
def test_a_name_that_cannot_be_written_is_known_before(
    tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "taken.mp4").mkdir()
    with pytest.raises(OutputError, match=words):
        check_target(tmp_path / name, kind="mp4", count=2)
    (tmp_path / "frames").mkdir()
    (tmp_path / "frames" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="other files"):
        check_target(tmp_path / "frames.png", kind="png", count=2)


def test_a_process_that_is_killed_while_it_checks_a_name_leaves_nothing_under_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "unlink", killed)
    monkeypatch.setattr("os.unlink", killed)
    with contextlib.suppress(KeyboardInterrupt):
        check_target(tmp_path / "fox.mp4", kind="mp4", count=2)
    with contextlib.suppress(KeyboardInterrupt):
        check_writable(tmp_path / "fox.toml", option="--save-config")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", FORMATS)
def test_one_frame_is_a_video_too(tmp_path: Path, suffix: str) -> None:
    path = Video(smooth(frames=1), Fraction(8)).save(tmp_path / f"a.{suffix}", metadata=FACTS)
    assert path.is_file()
    assert Video.load(path).frames.shape == (1, 65, 67, 3)
    assert read_metadata(path)["parameters"] == FACTS["parameters"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_saving_again_replaces_the_file_and_leaves_nothing_else(
    tmp_path: Path, suffix: str
) -> None:
    for frames in (2, 3):
        path = Video(smooth(frames=frames), Fraction(8)).save(tmp_path / f"a.{suffix}")
    assert Video.load(path).num_frames == 3
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("part", [0.02, 0.5, 0.9])
def test_half_a_film_is_refused(tmp_path: Path, part: float) -> None:
    path = Video(smooth(), Fraction(8)).save(tmp_path / "a.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(FileError, match=r"cut short|broken|no video stream"):
        Video.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 a zip", b"GIF89a nonsense", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with pytest.raises(FileError, match=r"a\.mp4") as refused:
        Video.load(path)
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_a_folder_without_frames_are_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.mp4"):
        with pytest.raises(FileError):
            Video.load(path)


@pytest.mark.parametrize("suffix", ["mp4", "gif", "png"])
def test_more_pixels_than_allowed_are_not_decoded(tmp_path: Path, suffix: str) -> None:
    path = Video(smooth(), Fraction(8)).save(tmp_path / f"a.{suffix}")
    with pytest.raises(FileError, match="at most 10,000"):
        Video.load(path, max_pixels=10_000)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_place_that_takes_no_files_is_one_sentence(tmp_path: Path, suffix: str) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(OutputError, match="could not be written"):
        Video(smooth(), Fraction(8)).save(tmp_path / "file" / f"a.{suffix}")


FILL_THE_DISK = """
import resource, sys
from fractions import Fraction
from pathlib import Path
import numpy as np
from animatediff.errors import OutputError
from animatediff.video import Video
frames = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    Video(frames, Fraction(8)).save(Path(sys.argv[1]))
except OutputError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize("suffix", ["mp4", "webp", "apng", "gif", "webm"])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_part_of_the_new(
    tmp_path: Path, suffix: str
) -> None:
    assert resource.RLIMIT_FSIZE is not None
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"the old one")
    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("refused:"), done.stderr
    assert path.read_bytes() == b"the old one"
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_frames_do_not_replace_a_folder_of_other_files(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="other files"):
        Video(smooth(), Fraction(8)).save(tmp_path / "a.png")
    assert (tmp_path / "a" / "thesis.txt").exists()


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mp4, gif, webp"):
        Video(smooth(), Fraction(8)).save(tmp_path / "a.avi")


def test_what_is_not_frames_is_not_a_video() -> None:
    # Under test, annotations are checked before the value itself is: so ask the value directly.
    unchecked = object.__new__(Video)
    object.__setattr__(unchecked, "frames", np.zeros((1, 8, 8, 3)))
    object.__setattr__(unchecked, "fps", Fraction(8))
    with pytest.raises(InputError, match="uint8"):
        unchecked.__post_init__()
    with pytest.raises(InputError, match="must be positive"):
        Video(smooth(), Fraction(0))


def test_several_videos_stand_side_by_side_above_their_labels() -> None:
    videos = [Video(smooth(frames=n), Fraction(8)) for n in (2, 5, 3)]
    together = grid(videos, ["seed 1", "ثعلب 狐狸", "a\nb\ud800"])
    assert together.frames.shape == (5, 2 * (65 + 18), 2 * 67, 3)
    assert np.array_equal(together.frames[0, :65, :67], videos[0].frames[0])
    assert np.array_equal(together.frames[4, :65, :67], videos[0].frames[1])
    assert (together.frames[0, 65:83, :67] < 128).any()


def test_a_contact_sheet_shows_every_frame() -> None:
    video = Video(smooth(frames=6), Fraction(8))
    sheet = np.asarray(video.contact_sheet(columns=4))
    assert sheet.shape == (2 * 65, 4 * 67, 3)
    assert np.array_equal(sheet[65:, :67], video.frames[4])
