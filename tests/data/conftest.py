"""Clips of every kind that people have, and files that only look like clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.data import files


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """Write frames as a video, losslessly unless told otherwise."""
    return files.write_clip


@pytest.fixture
def numbered_frames() -> Callable[..., np.ndarray]:
    """Frames whose red tells their number."""
    return files.ramp


@pytest.fixture
def odd_clips(tmp_path: Path) -> dict[str, Path]:
    """Clips that are whole, though not as one expects."""
    return files.odd_clips(tmp_path / "odd")


@pytest.fixture
def bad_files(tmp_path: Path) -> dict[str, Path]:
    """Files that must be refused, by what is wrong with them."""
    return files.bad_files(tmp_path / "bad")
