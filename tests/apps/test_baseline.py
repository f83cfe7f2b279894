"""``animatediff baseline``: both methods from the command line, on a tiny model."""

from fractions import Fraction

import numpy as np
import pytest

from animatediff.apps.cli import main
from animatediff.video import Video


def run(*words, capsys):
    code = main(["baseline", *map(str, words), "--progress", "none"])
    return code, capsys.readouterr().err


def test_text2video_zero_draws_a_video(tiny_world, tmp_path, capsys):
    out = tmp_path / "fox.apng"
    words = ["text2video-zero", "a fox", "--model", tiny_world, "--frames", 3, "-o", out]
    code, error = run(*words, capsys=capsys)
    assert (code, error) == (0, "")
    video = Video.load(out)
    assert video.num_frames == 3
    assert video.frames.shape[1:3] == (32, 32)


def test_tune_a_video_edits_a_video(tiny_world, tmp_path, capsys):
    clip, out = tmp_path / "clip.apng", tmp_path / "hare.apng"
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 64, 3)).astype(np.uint8)
    Video(noise, Fraction(5)).save(clip)
    words = ["tune-a-video", clip, "a hare", "--caption", "a fox", "--model", tiny_world]
    words += ["--train-steps", 2, "--steps", 4, "--frames", 2, "-o", out]
    code, error = run(*words, capsys=capsys)
    assert (code, error) == (0, "")
    video = Video.load(out)
    assert (video.num_frames, video.fps) == (2, 5)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["text2video-zero", " "], 2, "prompt is empty"),
        (["text2video-zero", "a fox", "--steps", "20"], 2, "44 and 47 of 50"),
        (["text2video-zero", "a fox", "--frames", "0"], 2, "--frames 0"),
        (["tune-a-video", "missing.mp4", "a fox", "--caption", "x"], 3, "missing.mp4"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(tiny_world, capsys, words, code, sentence):
    found, error = run(*words, "--model", tiny_world, capsys=capsys)
    assert found == code
    assert sentence in error
