"""Inputs of an animation are read by content: whatever their name, as a viewer shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.cases import (
    files_that_are_no_weights,
    phone_jpeg_with_a_gain_map,
    videos_in_other_containers,
)

from animatediff.errors import FileError
from animatediff.video import Video
from animatediff.video.material import files_of, read_material

RED = (230, 20, 20)
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def wide(path: Path, kind: str) -> Path:
    """A picture of 48x32 that its EXIF asks to turn by a quarter."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 32), RED).save(path, kind, exif=exif)
    return path


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("name", ["a.jfif", "picture", "a.mp4"])
def test_a_picture_is_read_whatever_its_name(kind: str, name: str, tmp_path: Path) -> None:
    material = read_material(wide(tmp_path / name, kind))
    assert material.still
    assert material.frames.shape == (1, 48, 32, 3)
    assert np.abs(material.frames.astype(int) - RED).max() < 12
    assert files_of(tmp_path / name) == (tmp_path / name,)


def test_of_a_phones_jpeg_only_the_picture_is_used(tmp_path: Path) -> None:
    path = phone_jpeg_with_a_gain_map.write(tmp_path / "photo.mpo")
    material = read_material(path)
    assert material.still
    assert len(material.frames) == 1


@pytest.mark.parametrize("container", videos_in_other_containers.CONTAINERS)
def test_a_video_is_read_whatever_its_container(container: str, tmp_path: Path) -> None:
    path = videos_in_other_containers.write(tmp_path / "clip.bin", container)
    material = read_material(path)
    assert not material.still
    assert material.frames.shape == (4, 48, 64, 3)
    assert np.abs(material.frames.astype(int) - RED).max() < 25


def test_a_video_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    path = Video(np.full((1, 32, 48, 3), RED, np.uint8), 8).save(tmp_path / "a.mp4")
    assert read_material(path).still


def test_the_pictures_of_a_folder_are_known_by_content(tmp_path: Path) -> None:
    for number in range(3):
        wide(tmp_path / f"{number}.jfif", "JPEG")
    (tmp_path / "._0.jpg").write_bytes(b"\0\5\x16\7 Mac OS X")
    (tmp_path / "notes.txt").write_text("These are mine.")
    (tmp_path / ".DS_Store").write_bytes(bytes(64))
    assert len(read_material(tmp_path).frames) == 3
    (tmp_path / "3.heic").write_bytes(HEIC)
    with pytest.raises(FileError, match=r"3\.heic is a HEIC picture, which is not supported"):
        read_material(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "config.json", "style.zip", "page.safetensors"])
def test_what_is_neither_is_refused_before_anything_is_loaded(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(files_that_are_no_weights.FILES[name][0])
    for read in (files_of, read_material):
        with pytest.raises(FileError, match="is not a readable video or picture; give") as refused:
            read(tmp_path / name)
        assert "png16" not in str(refused.value)
    (tmp_path / "photo").write_bytes(HEIC)
    with pytest.raises(FileError, match="is a HEIC picture, which is not supported"):
        files_of(tmp_path / "photo")


def test_a_list_of_other_files_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n#EXTINF:1,\n/etc/hostname\n")
    (tmp_path / "a.mp4").write_text(f"ffconcat version 1.0\nfile {tmp_path / 'b.mp4'}\n")
    for name in ("a.m3u8", "a.mp4"):
        with pytest.raises(FileError, match="is not a readable video"):
            read_material(tmp_path / name)
