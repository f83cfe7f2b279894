"""Decide whether a clip may be mirrored: not if its caption or camera distinguishes left and right.

The authors' trainer mirrors half of all clips whatever their captions say, so "a man walking to the
left" is trained in both directions. This is the one rule for every place that mirrors.
"""

from __future__ import annotations

import re

_DIRECTED = re.compile(
    r"(?<![a-z])(?:"
    r"(?:left|right)(?:wards?|most|hand(?:ed)?)?"
    r"|(?:east|west)(?:wards?|ern)?"
    r"|(?:counter|anti)?clockwise|a?ccw|cw"
    r"|clock|o['’]?clock|thirty|arrow"
    r")(?![a-z])"
    r"|[左右]",
    re.IGNORECASE,
)


def may_mirror(*words: str | None) -> bool:
    """Return whether a mirrored clip still matches its description.

    Args:
        words: its caption, and the name of its camera move, such as ``pan-left``; each may be
            ``None``.
    """
    return not any(text and _DIRECTED.search(text) for text in words)
