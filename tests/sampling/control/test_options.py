"""What control options mean, before any network is run."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from animatediff.errors import FileError, InputError
from animatediff.sampling.control.frame_strengths import frame_strengths
from animatediff.sampling.control.hints import read_hints, rows_of
from animatediff.sampling.control.inputs import inputs_of
from animatediff.sampling.control.layer_weights import parse_layer_weights
from animatediff.sampling.control.settings import control_settings
from animatediff.sampling.control.sparse import hints_in_window
from animatediff.sampling.request import AnimationRequest


def test_strengths_of_frames_are_written_as_ranges_without_their_end() -> None:
    found = frame_strengths("0=0.5, 2:8=0.7, -1", num_frames=10)
    assert found == (0.5, 0, *(0.7,) * 6, 0, 1)
    assert frame_strengths("", num_frames=2) == (1, 1)
    assert frame_strengths("2:=0.3", num_frames=4) == (0, 0, 0.3, 0.3)
    assert frame_strengths("-3:-1", num_frames=4) == (0, 1, 1, 0)


@pytest.mark.parametrize(
    "text", ["x", "1=", "1=-1", "1=nan", "1=11", "9", "-5", "3:2", "0:9", "1,,2"]
)
def test_a_wrong_strength_of_frames_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        frame_strengths(text, num_frames=4)


def test_soft_weights_are_the_original_controlnets_and_guess_weights_diffusers() -> None:
    soft = parse_layer_weights("soft").of(13)
    assert soft == pytest.approx([0.825 ** (12 - i) for i in range(13)])
    guess = parse_layer_weights("guess").of(13)
    assert guess == pytest.approx(np.logspace(-1, 0, 13).tolist())
    assert parse_layer_weights("soft").of(4, blocks=True) == (0.25, 0.62, 0.825, 1)
    assert parse_layer_weights("1, 0.5").of(2) == (1, 0.5)
    with pytest.raises(InputError, match="2 control weights were given, and this network has 13"):
        parse_layer_weights("1, 0.5").of(13)


def test_frames_without_a_hint_follow_the_nearest_the_last_or_none() -> None:
    assert rows_of([1, 4], num_frames=6, missing="nearest") == (0, 0, 0, 1, 1, 1)
    assert rows_of([1, 4], num_frames=6, missing="hold") == (-1, 0, 0, 0, 1, 1)
    assert rows_of([1, 4], num_frames=6, missing="none") == (-1, 0, -1, -1, 1, -1)


def save(path: Path, value: int, size: tuple[int, int] = (16, 8)) -> Path:
    Image.new("RGB", size, (value, value, value)).save(path)
    return path


def test_a_folder_is_frames_by_number_and_gaps_are_places(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        save(tmp_path / f"edge_{number:03}.png", number)
    options = {"width": 16, "height": 8, "fit": "crop", "missing": "none"}
    found = read_hints(tmp_path, num_frames=4, **options)  # type: ignore[arg-type]
    assert found.rows == (0, 1, 2, -1)
    assert [frame.max() for frame in found.frames] == [1, 2, 3]
    (tmp_path / "edge_001.png").rename(tmp_path / "edge_000.png")
    (tmp_path / "edge_002.png").unlink()
    assert read_hints(tmp_path, num_frames=5, **options).rows == (0, -1, -1, 1, -1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fit", "corner", "middle"), [("crop", 200, 200), ("pad", 0, 200), ("stretch", 200, 200)]
)
def test_a_picture_is_for_every_frame_and_keeps_its_shape(
    fit: str, corner: int, middle: int, tmp_path: Path
) -> None:
    path = save(tmp_path / "one.png", 200)
    found = read_hints(path, num_frames=3, width=16, height=16, fit=fit, missing="none")  # type: ignore[arg-type]
    assert found.rows == (0, 0, 0)
    assert found.frames.shape == (1, 16, 16, 3)
    assert (found.frames[0, 0, 0, 0], found.frames[0, 8, 8, 0]) == (corner, middle)


def test_depth_of_sixteen_bits_is_read_and_exr_is_refused(tmp_path: Path) -> None:
    deep = np.full((8, 16), 32768, np.uint16)
    Image.fromarray(deep).save(tmp_path / "depth.png")
    options = {"num_frames": 1, "width": 16, "height": 8, "fit": "crop", "missing": "none"}
    found = read_hints(tmp_path / "depth.png", **options)  # type: ignore[arg-type]
    assert found.frames[0, 0, 0].tolist() == [127] * 3
    (tmp_path / "depth.exr").write_bytes(b"\x76\x2f\x31\x01" + bytes(100))
    with pytest.raises(FileError, match="OpenEXR picture, which is not supported"):
        read_hints(tmp_path / "depth.exr", **options)  # type: ignore[arg-type]


def test_options_are_given_once_or_for_each() -> None:
    request = AnimationRequest(
        "x",
        controls=("a:0.5", "b"),
        control_inputs=("1", "2"),
        control_preprocess=("canny",),
        control_ranges=("0:0.5", "0.2:1"),
        control_modes=("prompt", "control"),
    )
    one, two = control_settings(request)
    assert str(one.scale) == "0.5"
    assert (one.preprocess, one.hint_type, one.end) == ("canny", "canny", 0.5)
    assert (two.preprocess, two.start, two.only_along) == ("canny", 0.2, True)
    assert one.weights.curve == two.weights.curve == "soft"
    with pytest.raises(InputError, match="--control-mode was given 3 times for 2"):
        AnimationRequest("x", controls=("a", "b"), control_modes=("prompt",) * 3).validated()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"controls": ("a",), "control_ranges": ("1:0",)}, "is no range of steps"),
        ({"controls": ("a",), "control_preprocess": ("cany",)}, "did you mean canny"),
        (
            {"controls": ("a",), "control_preprocess": ("depth",)},
            "draw the depth maps with another",
        ),
        ({"controls": ("a",), "control_weights": ("much",)}, "are no control weights"),
        ({"controls": ("a",), "sparse": ("x.png",)}, "has no frame"),
        ({"sparse": ("x.png@0",)}, "name one with --control"),
        ({"controls": ("a",), "sparse": ("2=x.png@0",)}, "number 2, and there are 1"),
        ({"controls": ("a", "b"), "sparse": ("x@0", "2=y@0")}, "for the same frame"),
        ({"controls": ("a", "b"), "sparse": ("2=x@0", "2=y@0")}, "for the same frame"),
        ({"control_inputs": ("x",)}, "1 control inputs were given for 0"),
    ],
)
def test_a_control_option_that_cannot_be_is_refused_at_once(
    fields: dict[str, tuple[str, ...]], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        AnimationRequest("x", **fields).validated()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("sparse", "request_", "said"),
    [
        ([False], AnimationRequest("x"), "1 of the control networks follow an input"),
        ([True], AnimationRequest("x"), "needs pictures and their frames"),
        ([False], AnimationRequest("x", control_inputs=("a",), sparse=("b@0",)), "none of the"),
        (
            [False, True],
            AnimationRequest("x", controls=("a", "b"), control_inputs=("a",), sparse=("1=b@0",)),
            "number 1, which is no SparseCtrl model",
        ),
        (
            [True, True],
            AnimationRequest("x", controls=("a", "b"), sparse=("1=b@0",)),
            "number 2 is a SparseCtrl model without a picture; .* 2=first.png@0",
        ),
    ],
)
def test_networks_and_inputs_must_match(
    sparse: list[bool], request_: AnimationRequest, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        inputs_of(request_, sparse)


def test_a_picture_is_for_every_sparse_network_or_the_one_it_names() -> None:
    request = AnimationRequest(
        "x", controls=("a", "b", "c"), sparse=("all.png@-1", "1=one.png@0", "2=two.png@0")
    ).validated()
    names = [[p.path.name for p in each.pictures] for each in control_settings(request)]
    assert names == [["all.png", "one.png"], ["all.png", "two.png"], ["all.png"]]
    assert AnimationRequest.from_json(request.to_json()) == request


def test_a_request_with_control_survives_being_stored() -> None:
    request = AnimationRequest("x", controls=("a:0.5",), control_inputs=("b",), sparse_motion=0.5)
    assert AnimationRequest.from_json(request.to_json()) == request.validated()


def test_a_window_without_hints_is_given_the_nearest() -> None:
    def placed(frames: range, *places: int) -> list[int | None]:
        return hints_in_window(frames, dict(zip(places, range(9), strict=False)), nearest=True)

    assert placed(range(4), 1) == [None, 0, None, None]  # it holds one
    assert placed(range(4, 8), 0) == [0, None, None, None]  # nearer to the start
    assert placed(range(4), 9) == [None, None, None, 0]
    assert placed(range(4, 8), 2, 9) == [0, None, None, 1]  # 2 frames away at either end
    assert placed(range(4, 8), 2, 10) == [0, None, None, None]
    assert hints_in_window(range(4, 8), {0: 0}, nearest=False) == [None] * 4


@given(st.sets(st.integers(0, 40), min_size=1, max_size=4), st.integers(0, 30), st.integers(1, 8))
def test_with_nearest_every_window_has_a_hint(places: set[int], start: int, length: int) -> None:
    numbered = {place: number for number, place in enumerate(sorted(places))}
    given_ = hints_in_window(range(start, start + length), numbered, nearest=True)
    assert any(hint is not None for hint in given_)
    inside = [place for place in places if start <= place < start + length]
    if inside:
        assert sum(hint is not None for hint in given_) == len(inside)
    assert math.inf not in given_
