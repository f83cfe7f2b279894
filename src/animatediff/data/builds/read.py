"""Read the samples of a build, one at a time."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from animatediff.data.builds.shard_writer import shards_in
from animatediff.data.decoding.media import Media
from animatediff.errors import FileError, reason_of

BUILD = "build.json"
"""The file that describes a folder's shards."""


@dataclass(frozen=True)
class BuiltClip:
    """One sample of a build; nothing large is read yet.

    Attributes:
        key: its name.
        facts: its caption and other metadata.
        media: its frames; ``None`` if they were not stored.
        encoded: the place of its tensors (file, offset, length); ``None`` if it was not encoded.
    """

    key: str
    facts: Mapping[str, Any]
    media: Media | None
    encoded: tuple[Path, int, int] | None

    def tensors(self) -> dict[str, Tensor]:
        """Read the encoded frames and caption from the disk.

        Raises:
            FileError: it was not encoded, or the shard is cut short.
        """
        if self.encoded is None:
            raise FileError(f"{self.key} was built without a model; build it with one.")
        path, offset, length = self.encoded
        try:
            with path.open("rb") as file:
                file.seek(offset)
                content = file.read(length)
        except OSError as error:
            reason = reason_of(error)
            raise FileError(f"{path} cannot be read ({reason}).") from None
        if len(content) < length:
            raise FileError(f"{path} is cut short; delete it and build again.")
        try:
            return load(content)
        except SafetensorError:
            raise FileError(f"{path} is broken at {self.key}; delete it and build again.") from None


def said_of(folder: Path) -> Mapping[str, Any] | None:
    """Return the description of a folder's shards; ``None`` if it is not a build.

    Raises:
        FileError: the description cannot be read.
    """
    path = folder / BUILD
    if not path.is_file():
        return None
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        said = None
    if not isinstance(said, dict):
        raise FileError(f"{path} is broken; delete {folder} and build it again.")
    return said


def read_built(folder: Path) -> tuple[BuiltClip, ...]:
    """Return every sample of a build in the order of their names, whichever run made them.

    Raises:
        FileError: the folder is not a build, or a shard is broken.
    """
    if not (folder / BUILD).is_file():
        raise FileError(
            f"{folder} holds no {BUILD}; make it with `animatediff dataset build DATA -o {folder}`."
        )
    clips: list[BuiltClip] = []
    for shard in shards_in(folder):
        try:
            with tarfile.open(shard, "r:") as tar:
                clips += _built_in(shard, tar, list(tar))
        except (OSError, tarfile.TarError, ValueError) as error:
            raise FileError(f"{shard} is broken ({error}); delete it and build again.") from None
    return tuple(sorted(clips, key=lambda clip: clip.key))


def _built_in(
    shard: Path, tar: tarfile.TarFile, members: Iterable[tarfile.TarInfo]
) -> Iterator[BuiltClip]:
    parts: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in members:
        key, _, suffix = member.name.partition(".")
        parts.setdefault(key, {})[suffix] = member
    for key, part in parts.items():
        stream = tar.extractfile(part["json"]) if "json" in part else None
        if stream is None:
            raise ValueError(f"{key} has no json")
        frames, encoded = part.get("mp4"), part.get("safetensors")
        yield BuiltClip(
            key,
            json.loads(stream.read()),
            Media(shard, offset=frames.offset_data, length=frames.size) if frames else None,
            (shard, encoded.offset_data, encoded.size) if encoded else None,
        )
