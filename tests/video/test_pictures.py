"""A picture is read as a viewer shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cases import jpeg_turned_by_exif as turned
from tests.cases import phone_jpeg_with_a_gain_map as phone
from tests.cases import pictures_in_other_colours as coloured

from animatediff.errors import FileError
from animatediff.video.pictures import read_picture


@pytest.mark.parametrize("orientation", turned.SHOWN)
@pytest.mark.parametrize("kind", turned.FORMATS)
def test_a_picture_is_turned_as_its_exif_says(tmp_path: Path, kind: str, orientation: int) -> None:
    path = turned.write(tmp_path / "a", orientation=orientation, format=kind)
    wanted = turned.SHOWN[orientation](turned.stored()).astype(int)
    seen = read_picture(path)
    assert seen.shape == wanted.shape
    assert np.median(np.abs(seen - wanted)) <= 2
    assert np.abs(seen - wanted).mean() <= 4


def test_exif_that_cannot_be_read_turns_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(turned.stored()).save(path, exif=b"Exif\0\0II*\0\xff\xff\xff\x00nonsense")
    assert read_picture(path).shape == (64, 96, 3)


def test_of_a_phones_two_pictures_the_first_is_shown(tmp_path: Path) -> None:
    seen = read_picture(phone.write(tmp_path / "a.jpg", orientation=6))
    assert seen.shape == (96, 64, 3)
    assert np.abs(seen.astype(int) - (220, 30, 30)).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "tiff"])
def test_sixteen_bits_become_eight(tmp_path: Path, suffix: str) -> None:
    seen = read_picture(coloured.write_deep(tmp_path / f"a.{suffix}"))
    assert np.abs(seen[0, :, 1].astype(int) - np.arange(256)).max() <= 1


@pytest.mark.parametrize("suffix", ["jpg", "tiff"])
def test_inks_become_light(tmp_path: Path, suffix: str) -> None:
    seen = read_picture(coloured.write_inks(tmp_path / f"a.{suffix}")).astype(int)
    assert np.abs(seen[8, 4] - (0, 255, 255)).max() <= 3
    assert np.abs(seen[8, 28] - 255).max() <= 3


def test_what_is_transparent_lies_on_the_background(tmp_path: Path) -> None:
    seen = read_picture(coloured.write_palette(tmp_path / "a.png"))
    assert seen[0, 0].tolist() == [10, 200, 30]
    assert seen[0, -1].tolist() == [255, 255, 255]
    on_blue = read_picture(coloured.write_clear_grey(tmp_path / "b.png"), background=(0, 0, 255))
    assert on_blue[0, 0].tolist() == [0, 0, 0]
    assert on_blue[0, -1].tolist() == [0, 0, 127]


@pytest.mark.parametrize(
    "primaries", [coloured.DISPLAY_P3, coloured.EXCHANGED, coloured.SRGB], ids=["P3", "GRB", "sRGB"]
)
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_colours_come_into_srgb(
    tmp_path: Path, suffix: str, primaries: tuple[tuple[float, float, float], ...]
) -> None:
    colours = np.array(
        [[200, 60, 30], [30, 160, 90], [40, 70, 210], [128, 128, 128], [250, 250, 250]], np.uint8
    )
    pixels = np.repeat(colours, 16, axis=0)[None].repeat(16, axis=0)
    path = tmp_path / f"a.{suffix}"
    icc = coloured.profile(primaries)
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(pixels).save(path, icc_profile=icc, **options.get(suffix, {}))
    light = (colours / 255.0) ** 2.2 @ np.array(primaries)
    linear = np.clip(light @ np.linalg.inv(np.array(coloured.SRGB)), 0, 1)
    screen = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    seen = read_picture(path)[8, 8::16].astype(int)
    assert np.abs(seen - screen * 255).max() <= 3


def test_a_profile_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    pixels = turned.stored()
    for icc in (b"nonsense", coloured.profile(coloured.DISPLAY_P3)[:150]):
        path = coloured.write_wide(tmp_path / "a.png", pixels, icc)
        assert np.array_equal(read_picture(path), pixels)


def test_a_profile_and_transparency_together(tmp_path: Path) -> None:
    pixels = np.zeros((4, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    icc = coloured.profile(coloured.EXCHANGED)
    seen = read_picture(coloured.write_wide(tmp_path / "a.png", pixels, icc)).astype(int)
    assert np.abs(seen[0, 0] - (0, 0, 255)).max() <= 3
    assert seen[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 40, "a HEIC picture.*save it as JPEG"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + b"\0" * 40, "a HEIC picture"),
        (b"8BPS\0\1" + b"\0" * 60, "a Photoshop file"),
        (b"\x89PNG\r\n\x1a\n nonsense", "is broken"),
        (b"", "not a picture that can be read"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(FileError, match=words):
        read_picture(path)


def test_a_picture_cut_short_too_large_or_missing_is_named(tmp_path: Path) -> None:
    path = turned.write(tmp_path / "a.jpg", orientation=1)
    with pytest.raises(FileError, match="at most 100 are decoded"):
        read_picture(path, max_pixels=100)
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(FileError, match="is broken"):
        read_picture(path)
    with pytest.raises(FileError, match="cannot be read: no such file"):
        read_picture(tmp_path / "missing.png")
