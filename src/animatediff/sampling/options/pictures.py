"""A picture as an option names it, perhaps for one frame and for one of several networks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from animatediff.errors import InputError

_PICTURE = re.compile(r"(?:(?P<number>\d{1,2})=)?(?P<path>.+?)(?:@\s*(?P<frame>-?\d{1,6}))?", re.S)


@dataclass(frozen=True)
class Picture:
    """A picture, video or folder that frames should follow.

    Attributes:
        path: where it is.
        frame: the frame that it is for; negative numbers count from the end, ``None`` is all.
        number: the network that it is for, from 1; ``None`` is all.
    """

    path: Path
    frame: int | None
    number: int | None


def parse_picture(text: str, *, option: str) -> Picture:
    """The picture of ``PATH``, ``PATH@FRAME`` or ``N=PATH@FRAME``.

    Raises:
        InputError: there is no path.
    """
    match = _PICTURE.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"{option} {text!r:.80} is no picture; write a path, or a path and a frame such as "
            "face.png@0."
        )
    frame, number = match["frame"], match["number"]
    return Picture(
        Path(match["path"]).expanduser(),
        None if frame is None else int(frame),
        None if number is None else int(number),
    )


def check_numbers(
    pictures: Sequence[Picture], *, option: str, count: int, what: str, networks: str
) -> None:
    """Check that pictures name networks that there are.

    Args:
        pictures: what was given.
        option: its option, in errors.
        count: networks of the request.
        what: what one of them is called.
        networks: the option that gives them.

    Raises:
        InputError: one names another number.
    """
    for picture in pictures:
        if picture.number is not None and not 1 <= picture.number <= max(1, count):
            raise InputError(
                f"{option} names the {what} number {picture.number}, and there are {count}; count "
                f"them from 1 in the order of {networks}."
            )
