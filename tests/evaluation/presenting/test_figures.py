"""Every frame is where its labels say, untouched."""

from __future__ import annotations

import numpy as np
import pytest

from animatediff.errors import InputError
from animatediff.evaluation.presenting.figures import LABEL, MARGIN, labelled_grid


def flat(value: int, *, size: int = 20) -> np.ndarray:
    return np.full((size, size, 3), value, np.uint8)


def test_each_frame_is_in_its_place():
    rows = {"first": [flat(10), flat(20)], "second": [flat(30), flat(40)]}
    sheet = np.asarray(labelled_grid(rows, columns=["a", "b"]))
    for y, frames in enumerate(rows.values()):
        for x, frame in enumerate(frames):
            top = LABEL + y * (20 + LABEL + MARGIN) + LABEL
            left = MARGIN + x * (20 + MARGIN)
            assert np.array_equal(sheet[top : top + 20, left : left + 20], frame)
    labels = sheet[:LABEL]
    assert labels.min() < 128


@pytest.mark.parametrize(
    "rows",
    [{}, {"a": [flat(1)]}, {"a": [flat(1), flat(2, size=8)]}],
    ids=["nothing", "a frame short", "two sizes"],
)
def test_what_does_not_fill_the_grid_is_refused(rows):
    with pytest.raises(InputError, match="2 columns"):
        labelled_grid(rows, columns=["one", "two"])
