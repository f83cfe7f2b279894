"""Decode in a separate process, because files are untrusted and decoders are written in C.

A decoder that hangs, uses too much memory or crashes ends only its own process. Requests are lines
of JSON; answers are a line of JSON and plain bytes, so nothing is unpickled. The process has a
memory limit, cannot write files, and starts without torch.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from jaxtyping import UInt8

from animatediff.data.checking.clip_facts import ClipFacts, measure_clip
from animatediff.data.decoding.frames import decode
from animatediff.data.decoding.media import Limits, Media
from animatediff.errors import FileError
from animatediff.video import Video

MAX_ANSWER_LINE = 1 << 20
READY = b"ready\n"
START_TIMEOUT = 120.0
"""Seconds for the process to start, which do not count as a clip's time."""


class Decoder:
    """A child process that decodes one clip at a time, started on demand and again after a failure.

    Not thread-safe: each thread needs its own.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False

    def decode(
        self,
        media: Media,
        *,
        fps: Fraction | None = None,
        start: float = 0.0,
        end: float | None = None,
        count: int | None = None,
        size: tuple[int, int] | None = None,
        side: int | None = None,
    ) -> Video:
        """Return the frames of a clip, as ``data/decoding/frames.decode`` does.

        Raises:
            FileError: as there; also if the decoder hangs, crashes or needs too much memory.
        """
        facts, frames = self._ask(
            media,
            {
                "do": "decode",
                "fps": str(fps) if fps is not None else None,
                "start": start,
                "end": end,
                "count": count,
                "size": size,
                "side": side,
            },
        )
        return Video(frames, Fraction(facts["fps"]))

    def measure(
        self, media: Media, *, start: float = 0.0, end: float | None = None
    ) -> tuple[ClipFacts, UInt8[np.ndarray, "moments height width 3"]]:
        """Return a clip's properties, as ``data/checking/clip_facts.measure_clip`` does.

        Raises:
            FileError: as for ``decode``.
        """
        facts, thumbnails = self._ask(media, {"do": "measure", "start": start, "end": end})
        facts["cuts"] = tuple(facts["cuts"])
        return ClipFacts(**facts), thumbnails

    def close(self) -> None:
        """End the process, even in the middle of a clip, and start no other."""
        self._closed = True
        self._stop()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _ask(
        self, media: Media, request: Mapping[str, Any]
    ) -> tuple[dict[str, Any], UInt8[np.ndarray, "frames height width 3"]]:
        if self._closed:
            raise FileError(f"{media.path} was not decoded: its decoder is closed.")
        process = self._process or self._start(media)
        assert process.stdin is not None
        assert process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            process.kill()

        timer = threading.Timer(self.limits.timeout, stop)
        timer.start()
        try:
            line = json.dumps({"media": _to_json(media), **request}).encode() + b"\n"
            process.stdin.write(line)
            process.stdin.flush()
            answer = json.loads(process.stdout.readline(MAX_ANSWER_LINE))
            if "error" in answer:
                raise FileError(answer["error"])
            content = _read_exactly(process.stdout, math.prod(answer["shape"]))
        except FileError:
            raise
        except (OSError, EOFError, ValueError):
            # Interrupted in the middle of an answer, or before one.
            self._stop()
            why = (
                f"took longer than {self.limits.timeout:g} s to decode"
                if late.is_set()
                else f"made the decoder crash (exit {process.returncode})"
            )
            raise FileError(f"{media.path} {why}; take it out.") from None
        except BaseException:
            self._stop()
            raise
        finally:
            timer.cancel()
        # A writable buffer, as torch wants it.
        return answer["facts"], np.frombuffer(content, np.uint8).reshape(answer["shape"])

    def _start(self, media: Media) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "animatediff.data.decoding.confined"]
        self._process = subprocess.Popen(
            [*command, json.dumps(asdict(self.limits))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Ctrl-C is for the parent, which then ends this process.
            start_new_session=os.name == "posix",
        )
        process = self._process
        assert process.stdout is not None
        timer = threading.Timer(START_TIMEOUT, process.kill)
        timer.start()
        try:
            ready = process.stdout.readline(len(READY)) == READY
        except (OSError, ValueError):  # closed by another thread meanwhile
            ready = False
        except BaseException:
            self._stop()
            raise
        finally:
            timer.cancel()
        if not ready:
            self._stop()
            raise FileError(
                f"{media.path} was not decoded: the decoder crashed as it started "
                f"(exit {process.returncode}); run again."
            )
        return process


def own_decoder(limits: Limits) -> Decoder:
    """Return this process's own decoder, which stays for the next clip and ends with the process."""
    return _decoder_of(os.getpid(), limits)


@functools.cache
def _decoder_of(process: int, limits: Limits) -> Decoder:
    decoder = Decoder(limits)

    def end() -> None:
        if os.getpid() == process:
            decoder.close()

    atexit.register(end)
    return decoder


def _read_exactly(pipe: Any, length: int) -> bytearray:
    content = bytearray(length)
    rest = memoryview(content)
    while rest:
        count = pipe.readinto(rest)
        if not count:
            raise EOFError
        rest = rest[count:]
    return content


# --- in the child ---------------------------------------------------------------------------------


def serve(requests: IO[bytes], answers: IO[bytes], limits: Limits) -> None:
    """Answer requests until there are no more."""
    for line in requests:
        try:
            with _alone_no_longer_than(limits.timeout + 5):
                facts, frames = _answered(json.loads(line), limits)
        except FileError as error:
            answers.write(json.dumps({"error": str(error)}).encode() + b"\n")
        except MemoryError:
            name = json.loads(line)["media"]["path"]
            sentence = f"{name} needs more than {limits.memory >> 30} GiB to decode; shrink it."
            answers.write(json.dumps({"error": sentence}).encode() + b"\n")
        else:
            head = {"facts": facts, "shape": frames.shape}
            answers.write(json.dumps(head).encode() + b"\n")
            answers.write(np.ascontiguousarray(frames).data)
        answers.flush()


@contextlib.contextmanager
def _alone_no_longer_than(seconds: float) -> Generator[None]:
    """End this process after a time limit: a hanging decoder may outlive its parent."""
    if not hasattr(signal, "alarm"):  # Windows
        yield
        return
    signal.alarm(math.ceil(min(seconds, 86_400)))
    try:
        yield
    finally:
        signal.alarm(0)


def _answered(
    request: dict[str, Any], limits: Limits
) -> tuple[dict[str, Any], UInt8[np.ndarray, "frames height width 3"]]:
    media, do = _from_json(request.pop("media")), request.pop("do")
    if do == "measure":
        facts, thumbnails = measure_clip(
            media, start=request["start"], end=request["end"], limits=limits
        )
        return asdict(facts), thumbnails
    video = decode(
        media,
        fps=Fraction(request["fps"]) if request["fps"] is not None else None,
        start=request["start"],
        end=request["end"],
        count=request["count"],
        size=tuple(request["size"]) if request["size"] is not None else None,
        side=request["side"],
        limits=limits,
    )
    return {"fps": str(video.fps)}, video.frames


def _to_json(media: Media) -> dict[str, Any]:
    return {
        "path": str(media.path),
        "offset": media.offset,
        "length": media.length,
        "pictures": [str(path) for path in media.pictures],
        "fps": str(media.fps) if media.fps is not None else None,
        "strip": media.strip,
    }


def _from_json(table: dict[str, Any]) -> Media:
    return Media(
        Path(table["path"]),
        offset=table["offset"],
        length=table["length"],
        pictures=tuple(Path(path) for path in table["pictures"]),
        fps=Fraction(table["fps"]) if table["fps"] is not None else None,
        strip=table["strip"],
    )


def _confine(limits: Limits) -> None:
    """Limit this process, where the system supports it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    wanted = {
        resource.RLIMIT_AS: limits.memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for what, most in wanted.items():
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some
            resource.setrlimit(what, (most, most))


def main() -> None:
    """Run as the child process: only answers go to standard output."""
    limits = Limits(**json.loads(sys.argv[1]))
    _confine(limits)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answers.write(READY)
    answers.flush()
    serve(sys.stdin.buffer, answers, limits)


if __name__ == "__main__":
    main()
