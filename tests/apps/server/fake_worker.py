"""A worker process whose animations are small files of bytes; what is to happen, the prompt says.

steps=20 sleep=0.01   as many steps, and seconds for each
crash, exit, fail     end the process by SIGSEGV, by an exit code, or raise in the middle
hang                  hold the interpreter, so that no thread of it beats
bytes=100000          the size of the result
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from animatediff.apps.server.formats import RESULT_FORMATS
from animatediff.apps.server.working.worker import Made, Step, WorkerSettings, run_worker
from animatediff.errors import Cancelled, InputError

TINY_JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


class FakeMaker:
    """Makes bytes that depend on the request alone."""

    models = ("fake",)

    def make(
        self,
        request: Mapping[str, Any],
        *,
        path_of: Callable[[str], str],
        on_step: Callable[[Step], None],
        should_stop: Callable[[], bool],
    ) -> Made:
        prompt = str(request["prompt"])

        def told(name: str, default: float) -> float:
            found = re.search(rf"\b{name}=([\d.]+)", prompt)
            return float(found[1]) if found else default

        steps, sleep = int(told("steps", 3)), told("sleep", 0.0)
        on_step(Step("load", 1, 1))
        for step in range(1, steps + 1):
            if should_stop():
                raise Cancelled
            time.sleep(sleep)
            if step > steps // 2:
                misbehave(prompt)
            on_step(Step("denoise", step, steps, lambda: TINY_JPEG))
        if should_stop():
            raise Cancelled
        on_step(Step("decode", 1, 1, lambda: TINY_JPEG))
        table = {name: request[name] for name in sorted(request)}
        if request.get("init"):
            table["read"] = hashlib.sha256(Path(path_of(request["init"])).read_bytes()).hexdigest()
        size = int(told("bytes", 2000))

        def write(kind: str, temporary: Callable[[str], Path]) -> list[tuple[Path, str]]:
            chosen = RESULT_FORMATS[kind]
            path = temporary(chosen.suffix)
            path.write_bytes(content_of(table, kind, size))
            return [(path, chosen.media_type)]

        return Made(
            resolved={**table, "num_frames": request.get("num_frames") or 16, "fps": "8"},
            notes=(),
            seconds={"denoise": 0.0},
            name="fake",
            thumbnail=TINY_JPEG,
            write=write,
        )


def content_of(table: Mapping[str, Any], kind: str, size: int) -> bytes:
    digest = hashlib.sha256(f"{kind} {json.dumps(dict(table), sort_keys=True)}".encode()).digest()
    return digest * (size // 32 + 1)


def misbehave(prompt: str) -> None:
    if "crash" in prompt:
        os.kill(os.getpid(), signal.SIGSEGV)
        time.sleep(10)
    if "exit" in prompt:
        os._exit(7)
    if "fail" in prompt:
        raise InputError("The fake failed at /root/secret/place.safetensors; that is its nature.")
    if "hang" in prompt:
        ctypes.PyDLL(None).sleep(60)  # with the interpreter's lock, as a broken extension would


def make(settings: WorkerSettings) -> FakeMaker:
    return FakeMaker()


if __name__ == "__main__":
    run_worker(make)
