"""OpenCV, imported at its first use: it takes a tenth of a second."""

from __future__ import annotations

import importlib
from typing import Any

LEAST_FLOW_SIDE = 16
"""The shortest side of a picture, in pixels, in which DIS finds flow; below, it may end the process."""


def opencv() -> Any:
    """OpenCV's module; its annotations do not fit strict types."""
    return importlib.import_module("cv2")
