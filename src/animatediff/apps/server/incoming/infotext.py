"""Infotext: what A1111 and its extensions write into a picture, as settings by name."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

INFOTEXT = "parameters"
"""Where PNG files, and every file of this program, store it."""
ELSEWHERE = ("comment", "title")
"""Where other files store it: GIF, MP4, WebM, and the Exif of WebP and JPEG."""
MAX_INFOTEXT = 1 << 20
MAX_SETTINGS_LINE = 50_000

_PAIR = re.compile(r'\s*([A-Za-z][\w /+-]{0,60}):\s*("(?:\\.|[^\\"])*"|[^,]*)(?:,|$)')


def infotext_in(texts: Mapping[str, str]) -> str:
    """The infotext among the texts of a file, or an empty text.

    Args:
        texts: of the file, with lower-case names.
    """
    if texts.get(INFOTEXT):
        return texts[INFOTEXT]
    found = (texts.get(name, "") for name in ELSEWHERE)
    return next((text for text in found if "Steps" in settings_of(text)[0]), "")


def settings_of(infotext: str) -> tuple[dict[str, str], str, str]:
    """The settings of an infotext by name, its prompt and its negative prompt."""
    text = infotext[:MAX_INFOTEXT].strip()
    *lines, last = text.split("\n")
    settings = _pairs(last)
    if len(settings) < 3:
        lines, settings = [*lines, last], {}
    negative = next(
        (i for i, line in enumerate(lines) if line.startswith("Negative prompt:")), None
    )
    if negative is None:
        return settings, "\n".join(lines).strip(), ""
    first = lines[negative].removeprefix("Negative prompt:")
    return (
        settings,
        "\n".join(lines[:negative]).strip(),
        "\n".join([first, *lines[negative + 1 :]]).strip(),
    )


def _pairs(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for match in _PAIR.finditer(line[:MAX_SETTINGS_LINE]):
        value = match[2].strip()
        if value.startswith('"'):
            try:
                value = str(json.loads(value))
            except ValueError:
                value = value.strip('"')
        found[match[1].strip()] = value
    return found
