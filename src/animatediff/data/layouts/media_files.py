"""Find the clips of a folder by their first bytes, whatever they are called.

A name only counts if it is unambiguous: a file that is called a video but is none is a bad clip,
and must not vanish.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Literal

from animatediff.video.content import HEAD, kind_of
from animatediff.video.pictures import unsupported_picture

MediaKind = Literal["video", "picture"]

_VIDEOS = frozenset(
    ".mp4 .m4v .mov .webm .mkv .avi .mpg .mpeg .flv .wmv .ogv .gif .3gp .3g2 .m2ts .mts .m2v .mxf "
    ".vob .asf .y4m .divx .rm .rmvb .apng".split()
)
_PICTURES = frozenset(
    ".png .jpg .jpeg .jpe .jfif .webp .avif .bmp .tif .tiff .heic .heif .jxl .jp2 .psd .exr .svg "
    ".dng .cr2 .cr3 .nef .arw .raf .orf .rw2".split()
)
_NO_CLIPS = frozenset(
    ".txt .caption .json .jsonl .csv .tsv .parquet .toml .yaml .yml .md .srt .vtt .xml .html .log .ini "
    ".npz .npy .safetensors .pt .pth .ckpt .bin .tar .db .lnk .py .sh "
    ".mp3 .wav .m4a .flac .ogg .oga .opus .aac .wma .mka".split()
)
"""Captions, tables, caches of trainers, and sound: neither opened nor reported."""


def kind_by_name(name: str | PurePath) -> MediaKind | None:
    """Return the kind of a file if its name alone says that it is a video or a picture."""
    suffix = PurePath(name).suffix.lower()
    if suffix in _VIDEOS:
        return "video"
    return "picture" if suffix in _PICTURES else None


def is_no_clip(name: str | PurePath) -> bool:
    """Return whether a file's name says that it is not a clip."""
    return PurePath(name).suffix.lower() in _NO_CLIPS


def kind_of_content(head: bytes) -> MediaKind | None:
    """Return the kind of a file by its first bytes, supported or not; ``None`` if it is not a clip."""
    container = kind_of(head)
    if container is None:
        return "picture" if unsupported_picture(head) else None
    return "picture" if container == "picture" and not head.startswith(b"GIF8") else "video"


def media_kind(path: Path) -> MediaKind | None:
    """Return the kind of a dataset's file; ``None`` if it is not a clip.

    A file is opened only if its name does not decide.
    """
    if is_no_clip(path):
        return None
    return kind_by_name(path) or kind_of_content(first_bytes(path))


def first_bytes(path: Path) -> bytes:
    """Read the beginning of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""
