"""Memory that a step frees, the next one wants again: do not hand it back to the system meanwhile.

The C library returns the top of its heap whenever enough of it is free, and then every step pays for
the same pages anew: up to half of the processor's time where a page is dear, as in a container.
"""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""The names of glibc's ``mallopt`` (malloc.h)."""
KEPT = {M_MMAP_THRESHOLD: 32 << 20, M_TRIM_THRESHOLD: 2_000_000_000, M_TOP_PAD: 64 << 20}
"""In bytes. Larger blocks than the first (the most that glibc takes) still come and go one by one."""


def keep_freed_memory() -> bool:
    """Let this process keep what it frees; whether it does.

    Left alone without glibc, and where the environment has settings of its own.
    """
    settled = any(name.startswith(("MALLOC_", "GLIBC_TUNABLES")) for name in os.environ)
    if settled or sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    taken = [mallopt(name, value) for name, value in KEPT.items()]
    return all(taken)
