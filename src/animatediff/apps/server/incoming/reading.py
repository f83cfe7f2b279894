"""Read what a file says of how it was made, in a child process with limits, as it may come from anyone.

The child prints JSON. It cannot write files, has little memory, and is ended after some seconds.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from animatediff.apps.server.incoming.infotext import INFOTEXT, infotext_in
from animatediff.errors import FileError

SECONDS = 20.0
MEMORY = 2 << 30
AT_ONCE = 4
"""Files that are read at once, each by a process of its own."""
MAX_OUTPUT = 64 << 20
OURS = "animatediff"
_room = threading.Semaphore(AT_ONCE)


def texts_of(path: Path) -> dict[str, str]:
    """The texts that a picture or video carries, by name; an infotext is always ``parameters``.

    Raises:
        FileError: it is none, or broken, or reading it took too much.
    """
    try:
        with _room:
            child = subprocess.run(
                [sys.executable, "-m", "animatediff.apps.server.incoming.reading", str(path)],
                capture_output=True,
                timeout=SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise FileError(f"The file took longer than {SECONDS:g} s to read.") from None
    try:
        answer = json.loads(child.stdout[:MAX_OUTPUT] or b"{}")
    except ValueError:
        answer = {}
    if "error" in answer:
        raise FileError(str(answer["error"]).replace(str(path), "The file"))
    if child.returncode or "texts" not in answer:
        raise FileError("The file made its reader fail; it is broken.")
    texts: dict[str, str] = answer["texts"]
    infotext = infotext_in(texts)
    return {**texts, INFOTEXT: infotext} if infotext else texts


def own_request(texts: Mapping[str, str]) -> dict[str, Any] | None:
    """The request that this program stored in a file, unchecked; ``None`` if there is none."""
    try:
        table = json.loads(texts.get(OURS, ""))
    except (ValueError, RecursionError):
        return None
    request = table.get("request") if isinstance(table, dict) else None
    return request if isinstance(request, dict) else None


def _confine() -> None:
    """Limit this process, where the system supports it."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = {
        resource.RLIMIT_AS: MEMORY,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: int(SECONDS),
    }
    for what, most in limits.items():
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (most, most))


def main() -> None:
    """Run as the child process."""
    _confine()
    from animatediff.video import read_metadata

    try:
        answer: dict[str, Any] = {"texts": read_metadata(sys.argv[1])}
    except (FileError, MemoryError) as error:
        answer = {"error": str(error) or "The file needs too much memory to read."}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
