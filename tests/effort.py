"""Seconds that mean the same on every machine: the processor time of a usual one.

A limit on time guards against work that grows faster than its input, not against slow machines. So the
work is weighed against a fixed piece of plain Python, done right before and right after it.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Generator
from contextlib import contextmanager

YARDSTICK = 0.02
"""A usual machine is one that takes so many seconds for ``_yardstick``."""


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Fail if what is done takes more processor time than a usual machine's ``seconds``."""
    gc.freeze()  # what the whole suite has loaded is nothing to look through again and again
    try:
        before = _yardstick()
        began = time.process_time()
        yield
        spent = time.process_time() - began
        slowness = max(1.0, before / YARDSTICK, _yardstick() / YARDSTICK)
    finally:
        gc.unfreeze()
    assert spent <= seconds * slowness, (
        f"{spent:.3f} s of processor time, on a machine {slowness:.1f} times slower than a usual one"
    )


def _yardstick() -> float:
    began = time.process_time()
    texts: dict[int, str] = {}
    total = 0
    for number in range(100_000):
        texts[number & 255] = text = str(number)
        total += len(text)
    return time.process_time() - began
