"""Keep freed memory in the process, because the next step needs it again.

The C library returns the top of its heap to the system when enough of it is free. Every step then
pays for the same pages again: up to half of the processor time where page faults are expensive, as
in a container.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""The names of glibc's ``mallopt`` (malloc.h)."""
KEPT = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 2_000_000_000, M_TOP_PAD: 64 << 20}
"""In bytes. Blocks above the first limit (the largest that glibc accepts) are still returned."""


def keep_freed_memory() -> bool:
    """Let this process keep freed memory; returns whether it does.

    Does nothing without glibc, or if the environment has its own settings.
    """
    settled = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if settled or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(name, value) for name, value in KEPT.items()]
    return all(taken)
