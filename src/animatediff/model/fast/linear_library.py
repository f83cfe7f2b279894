"""Which library computes linear layers fastest on this processor: measured once, then remembered.

The measurement takes about 0.1 s of one thread, in processor time, which other processes hardly change.
In bf16 oneDNN is used wherever it works: torch calls it as well, after copying the bias. The result is
kept in the user's cache folder under the processor's name, because results are rounded differently by
different libraries, and the same request must give the same video after a restart.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
from collections.abc import Generator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from platformdirs import user_cache_path

from animatediff.model.fast.linear import Product, by_onednn, by_torch

Library = Literal["onednn", "torch"]

LEAST_LOSS = 1.3
"""How much slower than torch's choice oneDNN must be not to be used: it also fuses what follows, and
a busy machine must not change the choice."""
REPEATS = 12


_TAKEN_OVER: dict[str, Library] = {}


def choices_here() -> dict[str, Library]:
    """This machine's choices by dtype, for other processes that must compute the same bits."""
    return {str(dtype): fastest_library(dtype) for dtype in (torch.float32, torch.bfloat16)}


def take_over(choices: Mapping[str, Library]) -> None:
    """Use the choices of another process instead of measuring; before anything is computed."""
    _TAKEN_OVER.update(choices)
    fastest_library.cache_clear()


@cache
def fastest_library(dtype: torch.dtype) -> Library:
    """The library to use for linear layers of a dtype on this processor."""
    if str(dtype) in _TAKEN_OVER:
        return _TAKEN_OVER[str(dtype)]
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return "torch"
    name = f"{processor()}, torch {torch.__version__}, {dtype}, processor time"
    known = _read()
    if known.get(name) in ("onednn", "torch"):
        return "torch" if known[name] == "torch" else "onednn"
    found = measured(dtype)
    _write({**known, name: found})
    return found


def measured(dtype: torch.dtype) -> Library:
    """Measure a layer of 640 channels and 512 tokens by both libraries."""
    with torch.inference_mode(), _one_thread():
        tokens = torch.ones(512, 640, dtype=dtype)
        weight = torch.ones(640, 640, dtype=dtype)

        def seconds(product: Product) -> float:
            began = time.thread_time()
            product(tokens, weight, None)
            return time.thread_time() - began

        try:
            if dtype == torch.bfloat16:
                by_onednn(tokens, weight, None)
                return "onednn"
            ways = (by_onednn, by_torch)
            times = [[seconds(way) for way in ways] for _ in range(REPEATS + 1)][1:]
        except (RuntimeError, NotImplementedError, AttributeError):  # this build of torch lacks it
            return "torch"
    onednn, other = (min(column) for column in zip(*times, strict=True))
    return "torch" if onednn > LEAST_LOSS * other else "onednn"


@contextlib.contextmanager
def _one_thread() -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def processor() -> str:
    """The name of this machine's processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _file() -> Path:
    return user_cache_path("animatediff") / "linear-library.json"


def _read() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(known: dict[str, str]) -> None:
    path = _file()
    unfinished = path.with_suffix(f".{os.getpid()}")
    with contextlib.suppress(OSError):  # without a cache, it is measured again
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(json.dumps(known, indent=1))
        unfinished.replace(path)
