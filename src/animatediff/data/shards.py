"""Shards: tar files with WebDataset names, written completely or not at all, read in a fixed order.

A sample is an RGBA picture (``KEY.webp``, lossless) and its metadata (``KEY.json``). A clip is the
same with its frames stacked into one tall strip and ``frames`` in its JSON.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from animatediff.errors import FileError

Pixels = UInt8[np.ndarray, "height width 4"]


@dataclass(frozen=True)
class Sample:
    """One picture or strip of frames, straight-alpha RGBA, with its metadata."""

    key: str
    meta: dict[str, Any]
    image: Pixels

    def frames(self) -> UInt8[np.ndarray, "frames size size 4"]:
        """Cut the strip into its frames (a still is one frame)."""
        count = int(self.meta.get("frames", 1))
        return self.image.reshape(count, -1, *self.image.shape[1:])


def on_white(rgba: UInt8[np.ndarray, "*shape 4"]) -> UInt8[np.ndarray, "*shape 3"]:
    """Composite straight-alpha pixels on a white background."""
    alpha = rgba[..., 3:].astype(np.uint16)
    colour = rgba[..., :3].astype(np.uint16)
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def write_shards(samples: Iterable[Sample], folder: Path, *, per_shard: int = 2000) -> int:
    """Write samples as ``00000.tar, 00001.tar, ...``; returns the number of samples."""
    folder.mkdir(parents=True, exist_ok=True)
    pending: list[Sample] = []
    count = shard = 0
    for sample in samples:
        pending.append(sample)
        count += 1
        if len(pending) == per_shard:
            _write_shard(pending, folder / f"{shard:05d}.tar")
            pending, shard = [], shard + 1
    if pending:
        _write_shard(pending, folder / f"{shard:05d}.tar")
    return count


def _shards_in(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.tar"))


def fingerprint_of(folder: Path) -> str:
    """Return a hash of every shard that ``read_shards`` reads there, names included."""
    whole = hashlib.sha256()
    for path in _shards_in(folder):
        name = path.relative_to(folder).as_posix()
        with path.open("rb") as file:
            whole.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return whole.hexdigest()


def _write_shard(samples: list[Sample], path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for sample in samples:
                picture = io.BytesIO()
                Image.fromarray(sample.image).save(
                    picture, "WEBP", lossless=True, method=1, exact=True
                )
                facts = json.dumps(sample.meta, ensure_ascii=False).encode()
                for suffix, content in (("webp", picture.getvalue()), ("json", facts)):
                    info = tarfile.TarInfo(f"{sample.key}.{suffix}")
                    info.size = len(content)
                    tar.addfile(info, io.BytesIO(content))
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_shards(folder: Path) -> Iterator[Sample]:
    """Yield every sample of a folder of shards and its subfolders, in the order of their names.

    Raises:
        FileError: the folder contains no shard, or a sample lacks its picture or metadata.
    """
    shards = _shards_in(folder)
    if not shards:
        raise FileError(
            f"{folder} holds no shards (*.tar); render them with `animatediff dataset emoji`."
        )
    for shard in shards:
        with tarfile.open(shard) as tar:
            parts: dict[str, dict[str, bytes]] = {}
            for member in tar:
                key, suffix = member.name.rsplit(".", 1)
                stream = tar.extractfile(member)
                if stream is None:
                    continue
                part = parts.setdefault(key, {})
                part[suffix] = stream.read()
                if part.keys() >= {"webp", "json"}:
                    yield _decoded(key, parts.pop(key))
            if parts:
                raise FileError(
                    f"{shard} holds {next(iter(parts))} without its picture or its json."
                )


def _decoded(key: str, part: dict[str, bytes]) -> Sample:
    with Image.open(io.BytesIO(part["webp"]), formats=["WEBP"]) as picture:
        pixels = np.array(picture.convert("RGBA"))
    return Sample(key, json.loads(part["json"]), pixels)
