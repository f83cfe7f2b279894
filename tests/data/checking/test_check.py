"""Checking a data set: what is found is what is there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.cases import clips_of_one_colour_and_two_shapes as cases

from animatediff.data.checking.check import (
    CheckOptions,
    check_clips,
    least_tokens,
    write_contact_sheet,
)
from animatediff.data.layouts.detect import list_clips
from animatediff.errors import OutputError

WriteClip = Callable[..., Path]
LOSSY = {"codec": "libx264", "pixels": "yuv420p", "options": {"crf": "30"}}


def scene(seed: int, count: int, *, size: tuple[int, int] = (96, 72), speed: int = 1) -> np.ndarray:
    """A smooth random picture that drifts."""
    draw = np.random.default_rng(seed)
    coarse = draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    wide = np.asarray(
        Image.fromarray(coarse).resize((size[0] + speed * count, size[1]), Image.Resampling.BICUBIC)
    )
    return np.stack([wide[:, i * speed : i * speed + size[0]] for i in range(count)])


@pytest.fixture
def dataset(tmp_path: Path, write_clip: WriteClip) -> Path:
    folder = tmp_path / "set"
    folder.mkdir()
    write_clip(folder / "plain.mp4", scene(1, 48))
    write_clip(folder / "again.mkv", scene(1, 48)[:, ::2, ::2], **LOSSY)
    write_clip(folder / "other.mp4", scene(2, 48), fps=12)
    write_clip(folder / "cut.mp4", np.concatenate([scene(3, 30), scene(4, 30)]))
    write_clip(folder / "static.mp4", np.repeat(scene(5, 1), 50, axis=0))
    write_clip(folder / "short.mp4", scene(6, 5))
    (folder / "broken.mp4").write_bytes(b"nothing")
    captions = {
        "plain": "a plain view",
        "other": "a car turns left",
        "cut": "",
        "static": "word " * 90,
        "short": "x",
    }
    for name, caption in captions.items():
        (folder / f"{name}.txt").write_text(caption)
    return folder


def test_the_report_names_every_clip_to_look_at(dataset: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    listing = list_clips(dataset)
    report = check_clips(
        listing,
        CheckOptions(flip=True),
        workers=2,
        watch=lambda done, of: steps.append((done, of)),
    )
    assert steps == [(i, 7) for i in range(1, 8)]
    found = report.to_json()
    json.dumps(found)
    assert (found["clips"], found["good"], found["usable"]) == (7, 6, False)
    assert [row["clip"] for row in found["bad"]] == ["broken"]
    assert found["duplicates"] == [["again", "plain"]]
    assert found["concerns"] == {
        "static": ["static"],
        "short": ["short"],
        "cuts": ["cut"],
        "no caption": ["again"],
        "empty caption": ["cut"],
        "long caption": ["static"],
        "left or right": ["other"],
    }
    assert found["cuts"] == {"cut": [1.25]}
    assert found["motion"]["static"] < 0.001 < found["motion"]["plain"]
    assert found["overlay"] == {}
    assert found["fps"] == {"24": 5, "12": 1}
    assert found["sizes"] == {"96x72": 5, "48x36": 1}
    assert found["frames"] == 48 * 3 + 60 + 50 + 5
    assert found["seconds"]["longest"] == 4.0
    text = "\n".join(report.lines())
    assert text.startswith("7 clips (folder), 6 of them good: ")
    assert "broken: " in text
    assert "not a readable video" in text
    calm = check_clips(listing, CheckOptions(flip=False, frames=1, max_bad=0.5))
    assert calm.usable
    assert not {"left or right", "static", "short"} & calm.concerns().keys()
    sheet = tmp_path / "sheet.png"
    write_contact_sheet(report, sheet)
    with Image.open(sheet) as picture:
        assert picture.format == "PNG"
        assert picture.width > 3 * 4 * 72
    with pytest.raises(OutputError, match="cannot be written"):
        write_contact_sheet(report, tmp_path / "no" / "sheet.png")


def test_different_clips_on_white_do_not_look_alike(tmp_path: Path, write_clip: WriteClip) -> None:
    for index in range(6):
        frames = np.full((24, 72, 72, 3), 255, np.uint8)
        for i in range(24):
            x, y = 8 + 6 * index, 10 + i
            frames[i, y : y + 24, x : x + 20] = (40 * index, 90, 200 - 30 * index)
        write_clip(tmp_path / f"{index}.mp4", frames)
        write_clip(tmp_path / f"{index} again.mp4", frames, **LOSSY)
    report = check_clips(list_clips(tmp_path), CheckOptions())
    assert {frozenset(group) for group in report.duplicates} == {
        frozenset({f"{i}", f"{i} again"}) for i in range(6)
    }


@pytest.mark.parametrize(
    "colours",
    [
        {},
        {"ink": (90, 90, 90), "paper": (130, 130, 130)},
        {"ink": (255, 255, 255), "paper": (0, 0, 0), "radius": 9},
    ],
    ids=["red on white", "little contrast", "small"],
)
def test_another_shape_of_the_same_colour_does_not_look_alike(
    tmp_path: Path, write_clip: WriteClip, colours: dict[str, Any]
) -> None:
    for shape in cases.SHAPES:
        film = cases.frames(shape, count=12, **colours)
        write_clip(tmp_path / f"{shape}.mp4", film)
        write_clip(tmp_path / f"{shape} again.mp4", film, **LOSSY)
        write_clip(tmp_path / f"{shape} half.mp4", film[:, ::2, ::2])
    report = check_clips(list_clips(tmp_path), CheckOptions())
    assert {frozenset(group) for group in report.duplicates} == {
        frozenset({shape, f"{shape} again", f"{shape} half"}) for shape in cases.SHAPES
    }


def test_tokens_are_counted_from_below() -> None:
    assert least_tokens("A red fox, running (fast)!") == 8
    assert least_tokens("it's 2026") == 6
    assert least_tokens("") == 0
