"""Camera moves by rule: what the crop does, and that it never looks where there is nothing."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from animatediff.data.camera import PATTERNS, CameraMove, Crop, cropped, filmed, parse_pattern
from animatediff.errors import InputError


def corners(crop: Crop) -> np.ndarray:
    matrix = crop.matrix().double().numpy()
    points = np.array([[x, y, 1] for x in (-1, 1) for y in (-1, 1)])
    return points @ matrix.T


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_the_crop_stays_within_the_picture_and_its_margin(pattern: str, margin: float) -> None:
    for seed in range(20):
        move = CameraMove.drawn(pattern, torch.Generator().manual_seed(seed), margin=margin)
        for time in np.linspace(0, 1, 16):
            assert np.abs(corners(move.crop_at(float(time)))).max() <= 1 + margin + 1e-6


def test_zooms_roll_and_pans_go_the_way_they_are_named() -> None:
    def ends(pattern: str, amount: float) -> tuple[Crop, Crop]:
        move = CameraMove(pattern, amount)
        return move.crop_at(0.0), move.crop_at(1.0)

    first, last = ends("zoom-in", 1.5)
    assert first.scale == pytest.approx(1.5 * last.scale)
    first, last = ends("zoom-out", 1.5)
    assert last.scale == pytest.approx(1.5 * first.scale)
    first, last = ends("pan-right", 0.2)
    assert last.right - first.right == pytest.approx(2 * 0.2 * 2 * first.scale)
    first, last = ends("tilt-up", 0.2)
    assert last.down < first.down
    first, last = ends("roll-clockwise", math.radians(30))
    assert math.degrees(last.angle - first.angle) == pytest.approx(30)


def test_a_crop_of_everything_is_the_picture() -> None:
    coarse = np.random.default_rng(0).integers(0, 255, (8, 8, 3)).astype(np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC))
    same = cropped(picture[None], [Crop(1.0)], size=64)[0]
    # Four samples a pixel are a light blur; at the border too, nothing of the white mixes in.
    blurred = picture.astype(float)
    for axis in (0, 1):
        padded = np.concatenate(
            [np.take(blurred, [0], axis), blurred, np.take(blurred, [-1], axis)], axis
        )
        before, after = (np.delete(padded, cut, axis) for cut in ([-1, -2], [0, 1]))
        blurred = 0.75 * blurred + 0.125 * (before + after)
    assert np.abs(same - blurred).max() <= 1


def test_outside_the_picture_is_white() -> None:
    black = np.zeros((1, 32, 32, 3), np.uint8)
    wide = cropped(black, [Crop(2.0)], size=32)[0]
    assert (wide[0, 0] == 255).all()
    assert (wide[16, 16] == 0).all()


def test_only_the_middle_of_a_wide_picture_is_a_still_camera_s_view() -> None:
    wide = np.full((1, 32, 96, 3), 255, np.uint8)
    wide[:, :, 32:64] = 0
    assert (cropped(wide, [Crop(1.0)], size=32)[0, 4:-4, 4:-4] == 0).all()


def test_an_unknown_pattern_lists_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'spin'.*zoom-in"):
        CameraMove("spin", 1.0)


@pytest.mark.parametrize("name", ["zoom-out", "pan-left", "roll-clockwise"])
def test_a_pattern_of_half_the_strength_goes_half_as_far(name: str) -> None:
    usual, half = (
        CameraMove.drawn(pattern, torch.Generator().manual_seed(2)).amount
        for pattern in (name, f"{name}:0.5")
    )
    assert half == pytest.approx(usual**0.5 if name == "zoom-out" else usual / 2)


@pytest.mark.parametrize("number", ["", "0", "-1", "nan", "2.1", "half"])
def test_a_strength_that_is_none_is_refused(number: str) -> None:
    with pytest.raises(InputError, match=r"above 0 and at most 2, such as zoom-in:0\.5"):
        parse_pattern(f"zoom-in:{number}")


def test_a_move_is_a_pure_function_of_its_generator() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (4, 16, 16, 3)).astype(np.uint8)
    views = [
        filmed(frames, CameraMove.drawn("roll-clockwise", torch.Generator().manual_seed(5)), size=8)
        for _ in range(2)
    ]
    assert np.array_equal(*views)
