"""A server in a process of its own, for the benchmarks of the server."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

SERVER = Path(__file__).resolve().parents[1] / "tests" / "apps" / "server" / "fake_server.py"


@contextmanager
def served(*, real: bool) -> Generator[tuple[str, int]]:
    """Run a server with an empty queue; yields its address and its process.

    Args:
        real: whether its worker has the built-in model; otherwise it makes small files of bytes.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [sys.executable, str(SERVER), folder, *(["real"] if real else [])],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert server.stdout is not None
        try:
            yield server.stdout.readline().strip(), server.pid
        finally:
            server.terminate()
            server.wait()


def memory_of(process: int) -> float:
    """The resident memory of a process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
