"""When a clip may be mirrored: never where its words, or its camera, tell left from right.

The authors' trainer mirrors half of all clips whatever their captions say, so that "a man walking to
the left" is learned walking both ways. This is the one rule for every place that mirrors.
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
    """Whether a mirrored clip still shows what is said of it.

    Args:
        words: its caption, the name of its camera move, such as ``pan-left``; what there is none of
            may be ``None``.
    """
    return not any(text and _DIRECTED.search(text) for text in words)
