"""``animatediff dataset``: look at one's own clips, and build them into shards with a model."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.apps import encoding
from animatediff.apps.cli import main
from animatediff.data.builds.read import read_built
from animatediff.data.decoding.frames import decode
from animatediff.video import Video


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """Three clips of two seconds, one of them without a caption."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for index in range(3):
        draw = np.random.default_rng(index)
        wide = np.kron(draw.integers(0, 256, (4, 12, 3)), np.ones((16, 16, 1))).astype(np.uint8)
        frames = np.stack([wide[:, 3 * i : 3 * i + 64] for i in range(32)])
        Video(frames, Fraction(16)).save(folder / f"clip_{index}.mp4")
    (folder / "clip_0.txt").write_text("a fox runs left")
    (folder / "clip_1.txt").write_text("an owl")
    return folder


def test_check_prints_for_people_and_programs_and_draws_a_sheet(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sheet = tmp_path / "sheet.png"
    assert main(["dataset", "check", str(clips), "--flip", "--sheet", str(sheet)]) == 0
    text = capsys.readouterr().out
    assert "3 clips (folder), 3 of them good" in text
    assert "left or right  1: clip_0" in text
    assert "no caption     1: clip_2" in text
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
    (clips / "clip_3.mp4").write_bytes((clips / "clip_0.mp4").read_bytes()[:2000])
    assert main(["dataset", "check", str(clips), "--json", "--workers", "1"]) == 3
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert (report["clips"], report["good"], report["usable"]) == (4, 3, False)
    assert printed.err.count("\n") == 1
    assert "1 of 4 clips" in printed.err
    assert main(["dataset", "check", str(clips), "--max-bad", "0.5"]) == 0


def test_build_encodes_with_a_model_and_goes_on(
    clips: Path, tmp_path: Path, tiny_world: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shards"
    words = ["dataset", "build", str(clips), "-o", str(out), "--model", str(tiny_world)]
    assert main(words) == 2
    assert "1 of 3 clips" in capsys.readouterr().err
    assert not out.exists()
    words += ["--caption-from-names", "--size", "32x32", "--workers", "1"]
    assert main(words) == 0
    assert "3 samples in 1 shards" in capsys.readouterr().out
    clip = next(c for c in read_built(out) if c.facts["clip"] == "clip_0")
    assert (clip.facts["frames"], clip.facts["may_mirror"]) == (16, False)
    tensors = clip.tensors()
    assert clip.media is not None
    base = encoding.load_encoder(str(tiny_world), size=None, device="cpu", threads=None)
    encoder, own = base
    assert own == (32, 32)
    frames = decode(clip.media).frames
    for name, tensor in {**encoder.frames(frames), **encoder.text("a fox runs left")}.items():
        assert torch.equal(tensors[name], tensor), name
    assert tensors["latents"].shape == tensors["spread"].shape == (16, 4, 4, 4)
    assert tensors["text"].shape == (77, 32)
    assert tensors["latents"].dtype == torch.float16
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 0


def test_build_gives_all_clips_one_caption(clips: Path, tmp_path: Path) -> None:
    words = ["dataset", "build", str(clips), "-o", str(tmp_path / "shards"), "--model", "none"]
    assert main([*words, "--caption", "a sks dog", "--size", "32x32", "--workers", "1"]) == 0
    assert {c.facts["caption"] for c in read_built(tmp_path / "shards")} == {"a sks dog"}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["check", "nowhere"], 2, "There is no nowhere"),
        (["check", "."], 2, "contains no clips"),
        (["check", ".", "--fps", "fast"], 2, "24000/1001"),
        (["check", ".", "--fsp", "8"], 2, "did you mean --fps?"),
        (["check"], 2, "needs PATH"),
        (["build", "."], 2, "needs -o"),
        ([], 2, "emoji, check, build"),
        (["cats"], 2, "emoji, check, build"),
        (["check", ".", "--timeout", "0"], 2, "above 0"),
        (
            [
                "build",
                "clips",
                "--caption-from-names",
                "-o",
                "out",
                "--size",
                "33x32",
                "--model",
                "WORLD",
            ],
            2,
            "multiples of 8",
        ),
        (
            [
                "build",
                "clips",
                "--caption-from-names",
                "-o",
                "out",
                "--model",
                "none",
                "--no-pixels",
            ],
            2,
            "nothing to build",
        ),
        (
            ["build", "clips", "--caption-from-names", "-o", "clips/clip_0.mp4", "--model", "none"],
            5,
            "cannot be written",
        ),
        (
            [
                "build",
                "clips",
                "--caption-from-names",
                "-o",
                "out",
                "--frames",
                "0",
                "--model",
                "none",
            ],
            2,
            "0 frames",
        ),
    ],
)
def test_what_cannot_be_done_is_one_sentence(
    words: list[str],
    code: int,
    sentence: str,
    tmp_path: Path,
    tiny_world: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "clips" in words:
        request.getfixturevalue("clips")
    monkeypatch.chdir(tmp_path)
    assert main(["dataset", *(str(tiny_world) if w == "WORLD" else w for w in words)]) == code
    printed = capsys.readouterr().err
    assert sentence in printed
    assert len(printed.splitlines()) == 1
    assert "Traceback" not in printed


def test_the_built_in_world_is_rendered_where_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[Path] = []

    def render(work: Path) -> dict[str, int]:
        asked.append(work)
        return {"clips": 699}

    monkeypatch.setattr("animatediff.world.art.emoji.render_world", render)
    assert main(["dataset", "emoji", "--work", str(tmp_path)]) == 0
    assert asked == [tmp_path]
    assert "699" in capsys.readouterr().out
    (tmp_path / "file").touch()
    assert main(["dataset", "emoji", "--work", str(tmp_path / "file")]) == 5
    assert "is a file" in capsys.readouterr().err
    assert asked == [tmp_path]
