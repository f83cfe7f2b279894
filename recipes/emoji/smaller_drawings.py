#!/usr/bin/env python
"""Writes pictures for `train control`: drawings of the built-in world in many sizes and places.

usage: recipes/emoji/smaller_drawings.py WORK FOLDER [--count 4000] [--seed 0]

Drawings of the world nearly fill their picture, and a network that learns from them alone draws small
outlines too large. Half of these pictures are the world's own; the others are drawn at 0.35 to 0.95 of
their size at any place. Three quarters are stills of every style that is not held out, one quarter
frames of clips; all are training concepts. Captions are the world's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from animatediff.data.shards import on_white, read_shards
from animatediff.runtime import seeded

SCALES = (0.35, 0.95)
CLIPS = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(seeded("smaller drawings", options.seed).initial_seed())
    options.folder.mkdir(parents=True, exist_ok=True)
    number = 0
    folders = {
        "stills": sorted((options.work / "stills").iterdir()),
        "clips": [options.work / "clips"],
    }
    for kind, found in folders.items():
        samples = [sample for folder in found for sample in read_shards(folder)]
        samples = [
            sample
            for sample in samples
            if sample.meta["split"] == "train" and not sample.meta.get("held_out_style")
        ]
        wanted = round(options.count * (CLIPS if kind == "clips" else 1 - CLIPS))
        for index in rng.choice(len(samples), wanted, replace=wanted > len(samples)):
            frames = samples[index].frames()
            picture = Image.fromarray(on_white(frames[rng.integers(len(frames))]))
            placed(picture, rng).save(options.folder / f"{number:05d}.png")
            (options.folder / f"{number:05d}.txt").write_text(str(samples[index].meta["caption"]))
            number += 1


def placed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Every second picture smaller, at a random place on white."""
    if rng.random() < 0.5:
        return picture
    side = round(picture.width * rng.uniform(*SCALES))
    smaller = picture.resize((side, side), Image.Resampling.LANCZOS)
    page = Image.new("RGB", picture.size, "white")
    left, top = (int(at) for at in rng.integers(picture.width - side + 1, size=2))
    page.paste(smaller, (left, top))
    return page


if __name__ == "__main__":
    main()
