"""``animatediff finish``: more frames for a file made earlier, and what it said of itself kept."""

from fractions import Fraction

import numpy as np
import pytest
from tests.video.test_sound import write_with_sound

from animatediff.apps.cli import main
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.video import Video, read_metadata
from animatediff.video.sound import sound_codec
from animatediff.weights.storage.files import write_weights


@pytest.fixture
def made(tmp_path):
    frames = np.zeros((4, 32, 32, 3), np.uint8)
    for index in range(4):
        frames[index, 8:20, 4 + 3 * index : 14 + 3 * index] = (200, 90, 40)
    path = tmp_path / "fox.apng"
    Video(frames, Fraction(8)).save(path, metadata={"animatediff": '{"request": 1}', "mine": "x"})
    return path


def finish(*words, capsys):
    code = main(["finish", *map(str, words), "--progress", "none"])
    return code, capsys.readouterr().err


def test_frames_are_drawn_between_and_metadata_is_kept(made, tmp_path, capsys):
    out = tmp_path / "more.apng"
    assert finish(made, "--interpolate", 2, "-o", out, capsys=capsys)[0] == 0
    before, after = Video.load(made), Video.load(out)
    assert (after.num_frames, after.fps) == (7, 16)
    np.testing.assert_array_equal(after.frames[::2], before.frames)
    facts = read_metadata(out)
    assert facts["animatediff"] == '{"request": 1}'
    assert facts["mine"] == "x"
    assert facts["fps"] == "16"


def test_a_loop_is_closed_and_a_pingpong_goes_back(made, tmp_path, capsys):
    for words, count in ((["--interpolate", 2, "--loop"], 8), (["--pingpong"], 6)):
        out = tmp_path / f"{count}.apng"
        assert finish(made, *words, "-o", out, capsys=capsys)[0] == 0
        assert Video.load(out).num_frames == count


def test_frames_are_enlarged_by_a_users_network(made, tmp_path, capsys):
    network = CompactUpscaler(channels=4, layers=1, scale=2)
    weights = write_weights(tmp_path / "up.safetensors", network.state_dict(), metadata={})
    for words, size in ((["--upscale", 3], 96), ([], 64)):
        out = tmp_path / f"{size}.apng"
        code, error = finish(made, "--upscaler", weights, *words, "-o", out, capsys=capsys)
        assert code == 0, error
        assert Video.load(out).frames.shape == (4, size, size, 3)
        assert read_metadata(out)["mine"] == "x"
        assert read_metadata(out)["size"] == f"{size}x{size}"


def test_sound_is_kept_unless_it_would_be_played_backwards(tmp_path, capsys):
    talking = write_with_sound(tmp_path / "tone.mp4", codec="aac")
    assert finish(talking, "--interpolate", 2, "-o", tmp_path / "a.mp4", capsys=capsys)[0] == 0
    assert sound_codec(tmp_path / "a.mp4") == "aac"
    assert finish(talking, "--pingpong", "-o", tmp_path / "b.mp4", capsys=capsys)[0] == 0
    assert sound_codec(tmp_path / "b.mp4") is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "nothing to do"),
        (["--interpolate", "17"], "1 to 16"),
        (["--upscale", "9", "--upscaler", "nothing"], "no upscaler 'nothing'"),
        (["--interpolator", "nothing"], "needs --interpolate N"),
        (["--pingpong", "--loop"], "--loop draws frames between the last and the first"),
        (["--upscale", "1", "--upscaler", "emoji", "--pingpong"], "--upscale 1 does not"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(made, capsys, words, sentence):
    code, error = finish(made, *words, capsys=capsys)
    assert code == 2
    assert sentence in error


def test_a_file_that_is_no_video_is_refused(tmp_path, capsys):
    path = tmp_path / "notes.txt"
    path.write_text("hello")
    code, error = finish(path, "--interpolate", "2", capsys=capsys)
    assert code == 3
    assert "notes.txt" in error


def test_what_is_read_is_not_replaced(made, tmp_path, capsys):
    before = made.read_bytes()
    linked = tmp_path / "same.apng"
    linked.symlink_to(made)
    for out in (made, linked):
        code, error = finish(made, "--pingpong", "-o", out, capsys=capsys)
        assert code == 5
        assert "is read by this command and would be replaced; choose another name." in error
    assert main(["preprocess", str(made), "canny", "-o", str(made)]) == 5
    assert made.read_bytes() == before
