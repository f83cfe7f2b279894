"""``animatediff preprocess`` writes what a control network will see."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from animatediff.apps.cli import main
from animatediff.video import Video
from animatediff.video.preprocess import PreprocessName, preprocessed


def square(side: int = 48) -> np.ndarray:
    frame = np.full((side, side, 3), 240, np.uint8)
    frame[12:36, 12:36] = (20, 40, 60)
    return frame


def test_edges_of_a_video_keep_its_frames_rate_and_size(tmp_path: Path) -> None:
    frames = np.stack([np.roll(square(), 2 * i, axis=1) for i in range(4)])
    Video(frames, Fraction(12)).save(tmp_path / "in.mp4")
    code = main(["preprocess", str(tmp_path / "in.mp4"), "canny", "-o", str(tmp_path / "out.gif"),
                 "--size", "64x32"])  # fmt: skip
    assert code == 0
    edges = Video.load(tmp_path / "out.gif")
    assert edges.frames.shape == (4, 32, 64, 3)
    assert edges.frames.max() > 200
    assert np.median(edges.frames) == 0


def test_a_picture_becomes_a_picture(tmp_path: Path) -> None:
    Image.fromarray(square()).save(tmp_path / "in.png")
    assert (
        main(["preprocess", str(tmp_path / "in.png"), "tile", "-o", str(tmp_path / "o.png")]) == 0
    )
    with Image.open(tmp_path / "o.png") as picture:
        assert picture.size == (48, 48)


def test_a_missing_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["preprocess", str(tmp_path / "no.mp4"), "canny", "-o", str(tmp_path / "o.mp4")])
    assert code == 3
    assert "no.mp4" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["canny", "lineart", "softedge"])
def test_lines_are_where_the_picture_changes_and_nowhere_else(name: PreprocessName) -> None:
    drawn = preprocessed(square()[None], name=name)[0, ..., 0]
    assert drawn[10:14, 24].max() > 100  # the square's upper edge
    assert drawn[24, 24] < 30  # its middle
    assert drawn[2, 2] < 30


@pytest.mark.parametrize("name", ["canny", "lineart", "softedge", "tile"])
def test_drawn_edges_of_a_clip_that_fades_never_grow(name: PreprocessName) -> None:
    """Each frame was scaled by its own maximum, so the edges of a dark frame stayed white."""
    frame = square().astype(np.float32)
    clip = np.stack([frame * share for share in (1.0, 0.5, 0.1)]).astype(np.uint8)
    drawn = preprocessed(clip, name=name).astype(int)
    assert drawn[0].max() >= drawn[1].max() >= drawn[2].max()
    if name == "softedge":
        assert np.abs(drawn[0] // 2 - drawn[1]).max() <= 2
    assert np.array_equal(drawn[0], preprocessed(clip[:1], name=name)[0])


def test_none_leaves_frames_as_they_are() -> None:
    assert preprocessed(square()[None], name="none") is not None
    assert np.array_equal(preprocessed(square()[None], name="none")[0], square())


def test_a_shape_is_filled_and_lighter_towards_its_middle() -> None:
    frame = square()
    frame[20:28, 20:28] = 240  # a hole of the colour of the background
    shape = preprocessed(frame[None], name="shape")[0, ..., 0]
    inside = np.zeros(shape.shape, bool)
    inside[12:36, 12:36] = True
    assert (shape[inside] >= 80).all()
    assert (shape[~inside] == 0).all()
    assert shape[24, 24] == shape.max()
    assert shape[24, 14] < shape[24, 18] < shape[24, 24]
    assert not preprocessed(np.full_like(frame, 7)[None], name="shape").any()


@pytest.mark.parametrize(("name", "drawn"), [("pose", "skeletons"), ("depth", "depth maps")])
def test_what_other_programs_draw_is_refused_by_name(
    name: str, drawn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(square()).save(tmp_path / "in.png")
    code = main(["preprocess", str(tmp_path / "in.png"), name, "-o", str(tmp_path / "o.png")])
    assert code == 2
    sentence = capsys.readouterr().err
    assert f"draw the {drawn} with another program" in sentence
    assert "--control-preprocess none" in sentence
    code = main(
        ["animate", "a fox", "--control", "edges", "--control-input", str(tmp_path / "in.png"),
         "--control-preprocess", name]
    )  # fmt: skip
    assert code == 2
    assert capsys.readouterr().err == sentence
