"""A command keeps the memory that it frees, unless the environment says how it is to be kept."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from animatediff.apps.heap import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
for _ in range(15):
    blocks = [ctypes.c_void_p(libc.malloc(8 << 20)) for _ in range(8)]
    for block in blocks:
        ctypes.memset(block, 1, 8 << 20)
    for block in reversed(blocks):
        libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
"""

on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's own settings")


def faults(how: str) -> int:
    """Pages that a process asks the system for as it takes and frees the same memory."""
    ran = subprocess.run(
        [sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True, env={}
    )
    return int(ran.stdout)


@on_glibc
def test_what_is_freed_is_not_asked_of_the_system_again() -> None:
    assert faults("keep") < faults("leave") / 5


@on_glibc
def test_the_environments_own_settings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    from animatediff.apps.heap import keep_freed_memory

    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    assert not keep_freed_memory()
