"""A data set file of sd-scripts with what people's files have: prefix, suffix, default extension."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CAPTIONS = {
    "fox": "sks a red fox masterpiece",
    "owl": "sks an owl masterpiece",
    "hen": "sks a bird masterpiece",
    "cat": "a cat",
    "dog": "",
}
"""What sd-scripts learns of each picture."""


def write(folder: Path) -> Path:
    """Two subsets: one with prefix, suffix and class_tokens, and one that says nothing."""
    for name in ("one/fox", "one/owl", "one/hen", "one/deeper/emu", "two/cat", "two/dog"):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(path)
    (folder / "one" / "fox.txt").write_text("a red fox\nand a second line")
    (folder / "one" / "owl.txt").write_text("an owl")
    (folder / "two" / "cat.caption").write_text("a cat\n")
    (folder / "two" / "cat.txt").write_text("not this")
    path = folder / "set.toml"
    path.write_text(
        """
[general]
shuffle_caption = false
[[datasets]]
resolution = 512
  [[datasets.subsets]]
  image_dir = "one"
  caption_extension = ".txt"
  caption_prefix = "sks"
  caption_suffix = "masterpiece"
  class_tokens = "a bird"
  num_repeats = 2
  [[datasets.subsets]]
  image_dir = "two"
"""
    )
    return path
