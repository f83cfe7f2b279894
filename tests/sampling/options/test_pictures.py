"""A picture may be for one frame and for one of several networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from animatediff.errors import InputError
from animatediff.sampling.options.pictures import Picture, check_numbers, parse_picture


@pytest.mark.parametrize(
    ("text", "path", "frame", "number"),
    [
        ("a.png", "a.png", None, None),
        ("a.png@3", "a.png", 3, None),
        ("2=b/a.png@-1", "b/a.png", -1, 2),
        ("icon@2x.png", "icon@2x.png", None, None),
    ],
)
def test_a_picture_may_name_its_frame_and_its_network(
    text: str, path: str, frame: int | None, number: int | None
) -> None:
    assert parse_picture(text, option="--ip-image") == Picture(Path(path), frame, number)


@pytest.mark.parametrize("number", [0, 3])
def test_a_number_is_that_of_a_network(number: int) -> None:
    picture = Picture(Path("a.png"), None, number)
    with pytest.raises(InputError, match=f"--x names the net number {number}, and there are 2"):
        check_numbers([picture], option="--x", count=2, what="net", networks="--net")
