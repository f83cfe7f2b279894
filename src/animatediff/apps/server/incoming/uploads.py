"""Uploads: bytes of a stranger, written to a temporary file, decoded in a confined child, then stored.

What a file is, its bytes say, and neither its name nor its content type. Its frames are counted and
measured by a child process with limits on memory and time before anything else opens it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from starlette.requests import Request

from animatediff.apps.server.answers.problems import Refused
from animatediff.apps.server.queue.store import Store, writing
from animatediff.apps.server.settings import ServiceLimits
from animatediff.data.checking.clip_facts import ClipFacts
from animatediff.data.decoding.confined import Decoder
from animatediff.data.decoding.media import Limits, Media
from animatediff.errors import FileError

DECODERS = 2
DECODE_SECONDS = 60.0
DECODE_MEMORY = 3 << 30
HEAD = 64


@dataclass(frozen=True)
class MediaKind:
    """A kind of file that is accepted.

    Attributes:
        media_type: of HTTP.
        suffix: of its file in the store.
    """

    media_type: str
    suffix: str


PNG = MediaKind("image/png", ".png")
JPEG = MediaKind("image/jpeg", ".jpg")
GIF = MediaKind("image/gif", ".gif")
WEBP = MediaKind("image/webp", ".webp")
MP4 = MediaKind("video/mp4", ".mp4")
WEBM = MediaKind("video/webm", ".webm")


def kind_of(head: bytes) -> MediaKind | None:
    """The kind of a file by its first bytes; ``None`` if it is not accepted."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return PNG
    if head.startswith(b"\xff\xd8\xff"):
        return JPEG
    if head.startswith((b"GIF87a", b"GIF89a")):
        return GIF
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return WEBP
    if head[4:8] == b"ftyp" and head[8:12] not in (b"avif", b"avis", b"mif1", b"heic"):
        return MP4
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return WEBM
    return None


class Inspector:
    """Measures uploads in a few confined processes.

    Args:
        limits: on pixels, frames and duration.
    """

    def __init__(self, limits: ServiceLimits) -> None:
        confined = Limits(
            frame_pixels=limits.upload_pixels,
            frames=limits.upload_frames,
            seconds=limits.upload_seconds,
            timeout=DECODE_SECONDS,
            memory=DECODE_MEMORY,
        )
        self._lock = threading.Lock()
        self._free = [Decoder(confined) for _ in range(DECODERS)]
        self._all = tuple(self._free)
        self._room = threading.Semaphore(DECODERS)

    @contextmanager
    def _decoder(self) -> Generator[Decoder]:
        with self._room:
            with self._lock:
                decoder = self._free.pop()
            try:
                yield decoder
            finally:
                with self._lock:
                    self._free.append(decoder)

    def measure(self, path: Path) -> ClipFacts:
        """What a picture or video is.

        Raises:
            FileError: it is broken, beyond the limits, or made the decoder crash.
        """
        with self._decoder() as decoder:
            try:
                return decoder.measure(Media(path))[0]
            except FileError as error:
                raise FileError(str(error).replace(str(path), "The file")) from None

    def close(self) -> None:
        """End the processes."""
        for decoder in self._all:
            decoder.close()


async def store_upload(
    path: Path, *, store: Store, inspector: Inspector, write: Callable[[Callable[[], Any]], Any]
) -> dict[str, Any]:
    """Check a received file and put it into the store; returns what it is.

    Args:
        path: the received file, in the store's folder.
        store: where it goes.
        inspector: decodes it.
        write: does changes of the database.

    Raises:
        Refused: it is of no accepted kind, broken, or too large.
    """
    with path.open("rb") as file:
        kind = kind_of(file.read(HEAD))
    if kind is None:
        raise Refused(
            415,
            "The file is not a PNG, JPEG, GIF, WebP, MP4 or WebM; convert it to one of them.",
        )
    try:
        facts = await anyio.to_thread.run_sync(inspector.measure, path, abandon_on_cancel=False)
    except FileError as error:
        raise Refused(422, str(error)) from None
    described = {
        "media_type": kind.media_type,
        "width": facts.width,
        "height": facts.height,
        "frames": facts.frames,
        "seconds": facts.seconds if facts.frames > 1 else 0.0,
        "fps": facts.fps if facts.frames > 1 else 0.0,
        "still": facts.frames == 1,
    }

    # Hashing and syncing a large file takes long, and so is not done where others wait to write.
    digest, size = await anyio.to_thread.run_sync(lambda: store.take(path, suffix=kind.suffix))
    await write(
        lambda: store.register_upload(
            digest, suffix=kind.suffix, media_type=kind.media_type, size=size, facts=described
        )
    )
    return {"hash": digest, "bytes": size, **described}


@asynccontextmanager
async def received(
    request: Request, *, store: Store, most: int, field: str = "file"
) -> AsyncGenerator[Path]:
    """The one file of a request, as a temporary file: of a form, or the whole body.

    Args:
        request: its body is read here.
        store: has room for the temporary file.
        most: the most bytes.
        field: of the form.

    Raises:
        Refused: there is no file, or it is too large.
    """
    length = request.headers.get("content-length", "0")
    if not store.has_room(int(length) if length.isdigit() else 0):
        raise Refused(507, "The store is full; delete finished jobs first.")
    with store.temporary() as path:
        kind = request.headers.get("content-type", "")
        if kind.startswith("multipart/form-data"):
            async with request.form(max_files=1, max_fields=10, max_part_size=1 << 16) as form:
                file: Any = form.get(field)
                if file is None or not hasattr(file, "read"):
                    raise Refused(422, f"The form has no file in the field {field!r}.")
                await _copied(_pieces(file), path, most)
        else:
            await _copied(request.stream(), path, most)
        yield path


async def _pieces(file: Any) -> AsyncGenerator[bytes]:
    while piece := await file.read(1 << 18):
        yield piece


async def _copied(pieces: AsyncIterable[bytes], path: Path, most: int) -> None:
    total = 0
    with writing(path) as file:
        async for piece in pieces:
            total += len(piece)
            if total > most:
                raise Refused(413, f"The file is larger than {most >> 20} MiB, the most accepted.")
            file.write(piece)
    if not total:
        raise Refused(422, "The file is empty.")
