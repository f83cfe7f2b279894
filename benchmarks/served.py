"""A server in a process of its own, for the benchmarks of the server and the page's pictures."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

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


@contextmanager
def serving() -> Generator[str]:
    """Run `animatediff serve` with an empty folder; yields its address at once."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        words = ["serve", "--port", str(port), "--folder", folder, "--log-level", "warning"]
        server = subprocess.Popen([sys.executable, "-m", "animatediff", *words])
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait()


def answers(url: str) -> bool:
    """Whether a URL answers with 200: `/healthz` if the server runs, `/readyz` if a worker does too."""
    try:
        return httpx.get(url).status_code == httpx.codes.OK
    except httpx.ConnectError:
        return False


def memory_of(process: int) -> float:
    """The resident memory of a process, in MiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0
