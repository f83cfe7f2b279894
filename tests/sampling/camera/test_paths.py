"""Camera moves, files of poses and object paths, before any network is run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from animatediff.errors import FileError, InputError
from animatediff.sampling.camera.moves import is_moves, parse_moves, poses_of
from animatediff.sampling.camera.poses import LENS, read_poses, relative_to_first, seen_from_first
from animatediff.sampling.object_motion.followed import movement
from animatediff.sampling.object_motion.paths import parse_path, points_of_frames
from animatediff.sampling.request import AnimationRequest

FORWARD = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
RIGHT = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [
        ("pan-left", 0, -1),
        ("pan-right", 0, 1),
        ("pan-up", 1, -1),
        ("pan-down", 1, 1),
        ("zoom-in", 2, 1),
        ("zoom-out", 2, -1),
    ],
)
def test_pans_and_zooms_move_the_camera(name: str, axis: int, sign: int) -> None:
    """In the first camera's eyes, x is to the right, y is down, and z is ahead."""
    moved = relative_to_first(poses_of(name, num_frames=3, version="cameractrl"))[-1, :3, 3]
    assert moved[axis] * sign == pytest.approx(1.5 * 2 / 16)
    assert moved.abs().sum() == pytest.approx(1.5 * 2 / 16)


@pytest.mark.parametrize(
    ("name", "axis", "sign"),
    [("turn-left", 0, -1), ("turn-right", 0, 1), ("tilt-up", 1, -1), ("tilt-down", 1, 1)],
)
def test_turns_and_tilts_look_elsewhere(name: str, axis: int, sign: int) -> None:
    looks = relative_to_first(poses_of(name, num_frames=3, version="cmcm"))[-1, :3, :3] @ FORWARD
    assert looks[axis] * sign > 0.1
    assert looks[2] > 0.9


@pytest.mark.parametrize(("name", "sign"), [("roll-left", -1), ("roll-right", 1)])
def test_rolls_lean_the_camera(name: str, sign: int) -> None:
    """A camera that leans to its left has its right side up, which is -y."""
    side = relative_to_first(poses_of(name, num_frames=3, version="cmcm"))[-1, :3, :3] @ RIGHT
    assert side[1] * sign > 0.1


def test_moves_add_up_and_speeds_multiply() -> None:
    assert is_moves("zoom-in:1.5+pan-left")
    assert not is_moves("poses/path.txt")
    assert not is_moves("path.txt")
    both = poses_of("zoom-in:2+pan-left:0.5", num_frames=2, version="cameractrl").matrices[1, :, 3]
    assert both.tolist() == pytest.approx([0.5 * 1.5 / 16, 0, -2 * 1.5 / 16])
    far = poses_of("zoom-in", num_frames=2, version="cmcm").matrices[1, 2, 3]
    assert far == pytest.approx(-4 * 1.5 / 16)
    assert torch.equal(
        poses_of("static", num_frames=2, version="cmcm").matrices[1],
        torch.eye(3, 4, dtype=torch.float64),
    )


@given(st.lists(st.sampled_from(["pan-left", "tilt-up", "roll-right"]), min_size=1, max_size=8))
def test_every_sum_of_moves_begins_where_the_camera_is_and_keeps_angles(names: list[str]) -> None:
    matrices = poses_of("+".join(names), num_frames=4, version="cmcm").matrices
    assert torch.allclose(matrices[0], torch.eye(3, 4, dtype=torch.float64))
    turned = matrices[-1, :, :3]
    assert torch.allclose(turned @ turned.T, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("text", ["fly", "zoom-in:fast", "zoom-in:11", "zoom-in:nan", "pan-left+"])
def test_an_unknown_move_or_speed_is_refused_with_those_there_are(text: str) -> None:
    with pytest.raises(InputError, match=r"zoom-in|speed"):
        parse_moves(text)


def test_lines_as_in_realestate10k_are_read_and_spread(tmp_path: Path) -> None:
    path = tmp_path / "path.txt"
    matrix = [1, 0, 0, 2, 0, 1, 0, 0, 0, 0, 1, 0]
    moved = [1, 0, 0, 5, 0, 1, 0, 0, 0, 0, 1, 0]
    lens = [0.5, 0.9, 0.5, 0.5]
    lines = [[0, *lens, 0, 0, *matrix], [33, *lens, 0, 0, *moved]]
    text = "\n".join(" ".join(map(str, line)) for line in lines)
    path.write_text(f"https://example.org/clip\n{text}\n")
    poses = read_poses(path, num_frames=4)
    assert poses.lenses[0].tolist() == pytest.approx(lens)
    assert poses.matrices[:, 0, 3].tolist() == [2, 2, 5, 5]
    # The first camera is the origin: the second is 3 to its left.
    assert relative_to_first(poses)[-1, 0, 3] == pytest.approx(-3)
    assert seen_from_first(poses)[-1, 3] == pytest.approx(3)


def test_json_as_in_motionctrl_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "path.json"
    rows = [[1, 0, 0, x, 0, 1, 0, 0, 0, 0, 1, 0] for x in (1, 2)]
    path.write_text(json.dumps(rows))
    poses = read_poses(path, num_frames=2)
    assert seen_from_first(poses).tolist() == rows
    assert poses.lenses[0].tolist() == pytest.approx(LENS)


@pytest.mark.parametrize("text", ["", "[]", "[[1,2]]", "hello", "[[1,2,", "1 2 3\n4 5 6", "{}"])
def test_anything_else_is_no_camera_path(text: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(FileError, match="is no camera path"):
        read_poses(path, num_frames=2)


def test_points_are_shares_and_spread_evenly() -> None:
    points = parse_path("0,0.5 1,0.5 1,1")
    assert points_of_frames(points, num_frames=5) == [
        (0, 0.5),
        (0.5, 0.5),
        (1, 0.5),
        (1, 0.75),
        (1, 1),
    ]
    assert points_of_frames(points, num_frames=1) == [(0, 0.5)]
    for text in ("0,0", "", "0.2", "2,0 1,1", "a,b c,d", "nan,0 1,1"):
        with pytest.raises(InputError, match="--object-path"):
            parse_path(text)


def test_movement_is_a_blurred_path_and_none_in_the_first_frame() -> None:
    fields = movement(["0.25,0.5 0.75,0.5"], num_frames=3)
    assert fields.shape == (3, 2, 256, 256)
    assert not fields[0].any()
    # A path of 128 pixels to the right, in two frames: blurring keeps the sum.
    assert fields[1:, 0].sum((1, 2)).tolist() == pytest.approx([64, 64], rel=1e-3)
    assert not fields[:, 1].any()
    assert fields[1, 0].argmax() == 128 * 256 + 64


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"camera_path": "fly"}, "no camera move"),
        ({"object_paths": ("0,0",)}, "two points"),
        ({"camera": ":1"}, "has no name"),
    ],
)
def test_an_option_that_cannot_be_is_refused_at_once(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        AnimationRequest("x", **fields).validated()
