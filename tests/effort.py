"""Seconds that mean the same on every machine: the processor time of a usual one.

A limit on time guards against work that grows faster than its input, not against slow machines. So
work that takes longer is weighed against a fixed piece of plain Python, done right after it. Processes
that the work starts and waits for count too.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Generator
from contextlib import contextmanager

YARDSTICK = 0.02
"""A usual machine is one that takes so many seconds for ``_yardstick``."""


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Fail if what is done takes more processor time than a usual machine's ``seconds``."""
    gc.disable()  # how much there is to look through depends on the tests before
    try:
        began = _processor_time()
        yield
        spent = _processor_time() - began
        # Weighing takes longer than most of what is weighed, so it is left out where nothing is near.
        slowness = max(1.0, _yardstick() / YARDSTICK) if spent > seconds else 1.0
    finally:
        gc.enable()
    assert spent <= seconds * slowness, (
        f"{spent:.3f} s of processor time, on a machine {slowness:.1f} times slower than a usual one"
    )


def _processor_time() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _yardstick() -> float:
    began = time.process_time()
    texts: dict[int, str] = {}
    total = 0
    for number in range(100_000):
        texts[number & 255] = text = str(number)
        total += len(text)
    return time.process_time() - began
