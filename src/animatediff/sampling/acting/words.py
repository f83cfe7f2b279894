"""Find the action that a prompt ends with, such as "bouncing" in "a frog bouncing, flat style"."""

from __future__ import annotations

import re

from animatediff.video.actions import ACTIONS

_NAMED = {word: name for name, kind in ACTIONS.items() for word in kind.words}
_PHRASES = "|".join(map(re.escape, sorted(_NAMED, key=len, reverse=True)))
# At the end of a part between commas: the heart of "growing heart" does not grow, it is called so.
_ACTING = re.compile(rf"(?:^|(?<=,)|\s)\s*(?:is\s+|are\s+)?({_PHRASES})\s*(?=,|$)", re.IGNORECASE)


def action_in(prompt: str) -> tuple[str, str] | None:
    """Return the action that a part of a prompt ends with, and the prompt without its words.

    Args:
        prompt: such as "a frog bouncing, flat style".

    Returns:
        Such as ``("bounce", "a frog, flat style")``; ``None`` if there is no action, if there are
        several, or if nothing else would be left.
    """
    found = list(_ACTING.finditer(prompt))
    if len({_NAMED[each[1].lower()] for each in found}) != 1:
        return None
    parts = (part.strip() for part in _ACTING.sub("", prompt).split(","))
    left = ", ".join(part for part in parts if part)
    return (_NAMED[found[0][1].lower()], left) if left else None
