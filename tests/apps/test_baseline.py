"""``animatediff baseline``: both methods from the command line, on a tiny model."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from animatediff.apps.cli import main
from animatediff.apps.commands.evaluation.baseline import TuneAVideoOptions, caption_of
from animatediff.errors import FileError
from animatediff.video import Video


def run(*words: object, capsys: pytest.CaptureFixture[str]):
    code = main(["baseline", *map(str, words), "--progress", "none"])
    return code, capsys.readouterr().err


def test_text2video_zero_draws_a_video(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "fox.apng"
    words = ["text2video-zero", "a fox", "--model", tiny_world, "--frames", 3, "-o", out]
    code, error = run(*words, capsys=capsys)
    assert (code, error) == (0, "")
    video = Video.load(out)
    assert video.num_frames == 3
    assert video.frames.shape[1:3] == (32, 32)


def drawn(words: Sequence[object], *, out: Path, capsys: pytest.CaptureFixture[str]):
    line = ["text2video-zero", "a fox", "--frames", 3, "--steps", 3, "-o", out, *words]
    code, error = run(*line, capsys=capsys)
    assert (code, error) == (0, "")
    return Video.load(out).frames


def test_text2video_zero_has_the_switches_of_its_paper(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["--model", tiny_world, "--flow", 200, 0]
    plain = drawn(line, out=tmp_path / "plain.apng", capsys=capsys)
    mask = np.zeros((1, 32, 32, 3), np.uint8)
    mask[:, :16] = 255
    Video(mask, Fraction(1)).save(tmp_path / "mask.png")
    switches = (
        ["--no-flow"],
        ["--no-cross-frame"],
        ["--chunk", 2],
        ["--mask", tmp_path / "mask.png"],
    )
    for number, words in enumerate(switches):
        frames = drawn([*line, *words], out=tmp_path / f"{number}.apng", capsys=capsys)
        assert not np.array_equal(frames, plain), words
    Video(np.concatenate([mask, mask]), Fraction(1)).save(tmp_path / "two.apng")
    line = ["text2video-zero", "a fox", "--frames", 3, "--mask", tmp_path / "two.apng", *line]
    assert "two.apng has 2 frames, but 3 are drawn" in run(*line, capsys=capsys)[1]


def test_the_caption_of_a_video_is_given_or_beside_it_or_empty(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    asked = TuneAVideoOptions(clip, "a hare")
    assert caption_of(asked) == ""
    (tmp_path / "clip.txt").write_text("a fox runs\n")
    assert caption_of(asked) == "a fox runs"
    assert caption_of(TuneAVideoOptions(clip, "a hare", "a cat")) == "a cat"
    (tmp_path / "clip.txt").write_bytes(b"\xff")
    with pytest.raises(FileError, match=r"clip\.txt cannot be read as a caption; give --caption"):
        caption_of(asked)


def test_tune_a_video_edits_a_video(
    tiny_world: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    clip, out = tmp_path / "clip.apng", tmp_path / "hare.apng"
    noise = np.random.default_rng(0).integers(0, 255, (3, 40, 64, 3)).astype(np.uint8)
    Video(noise, Fraction(5)).save(clip)
    words = ["tune-a-video", clip, "a hare", "--model", tiny_world]
    words += ["--train-steps", 2, "--steps", 4, "--frames", 2, "-o", out]
    code, error = run(*words, capsys=capsys)
    assert (code, error) == (0, "")
    video = Video.load(out)
    assert (video.num_frames, video.fps) == (2, 5)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["text2video-zero", " "], 2, "prompt is empty"),
        (["text2video-zero", "a fox", "--steps", "1"], 2, "1 DDIM steps have no two noise levels"),
        (["text2video-zero", "a fox", "--steps", "1001"], 2, "steps = 1001 is out of range"),
        (["text2video-zero", "a fox", "--fps", "0"], 2, "fps = 0 is out of range"),
        (
            ["text2video-zero", "a fox", "--flow", "nan", "0"],
            2,
            "flow = nan is not a finite number",
        ),
        (["text2video-zero", "a fox", "--guidance", "nan"], 2, "guidance = nan is not a finite"),
        (["text2video-zero", "a fox", "--chunk", "1"], 2, "A chunk of 1 has no frame"),
        (["text2video-zero", "a fox", "--mask", "missing.png"], 3, "missing.png"),
        (["text2video-zero", "a fox", "--frames", "0"], 2, "--frames 0"),
        (["tune-a-video", "missing.mp4", "a fox", "--caption", "x"], 3, "missing.mp4"),
        (["tune-a-video", "missing.mp4", "a fox", "--frames", "0"], 2, "--frames 0"),
        (["tune-a-video", "missing.mp4", "a fox", "--steps", "0"], 2, "steps = 0 is out of range"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    tiny_world: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, sentence: str
):
    found, error = run(*words, "--model", tiny_world, capsys=capsys)
    assert found == code
    assert sentence in error
