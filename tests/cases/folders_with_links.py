"""A folder of clips with links in it: one to itself, one to a folder beside, one to nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("cat", "more/dog", "outside/hen")


def write(folder: Path) -> Path:
    """Three pictures, of which one lies outside and is reached by a link; a dangling link besides."""
    data, outside = folder / "data", folder / "elsewhere"
    for path in (data / "cat.png", data / "more" / "dog.png", outside / "hen.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(path)
    (data / "again").symlink_to("more")
    (data / "loop").symlink_to(".")
    (data / "more" / "up").symlink_to("..")
    (data / "outside").symlink_to(outside)
    (data / "gone.png").symlink_to("nowhere.png")
    (data / "round").symlink_to("round")
    return data
