"""Sentences for clients, who must not learn where the files of this machine are."""

from __future__ import annotations

import re

_PATH = re.compile(
    r"(?<![\w.:/\\])(?!/(?:api|v1|sdapi)/)(?:file:)?(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:;,'\"()]+)+[/\\]([^\s/\\:;,'\"()]+)"
)


def without_paths(sentence: str) -> str:
    """A sentence in which an absolute path of this machine is only its last name."""
    return _PATH.sub(r"\1", sentence)
