#!/usr/bin/env python
"""Draws the pictures of docs/guides/control.md: followed hints, and a picture that moves.

usage: recipes/emoji/control_pictures.py [--docs docs] [--seed 0]
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from animatediff.evaluation.presenting.figures import labelled_grid
from animatediff.sampling.animator import Animator
from animatediff.sampling.request import AnimationRequest
from animatediff.video.preprocess import PreprocessName, preprocessed

FRAMES, SIDE, SHOWN = 16, 128, 144
"""Frames of an animation, pixels of a side as the model draws it and as the picture shows it."""
COLUMNS = (0, 3, 6, 9, 12)
Points = list[tuple[float, float]]


def heart(time: float) -> Points:
    """A heart that beats once; ``time`` runs from 0 to 1."""
    size = 3.05 + 0.55 * math.sin(2 * math.pi * time)
    turns = [2 * math.pi * i / 120 for i in range(120)]
    return [
        (
            SIDE / 2 + size * 16 * math.sin(t) ** 3,
            SIDE / 2 - size * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t)),
        )
        for t in turns
    ]


def star(time: float) -> Points:
    """A star that turns by one of its five points, and so ends as it began."""
    radii = (50, 23)
    return [
        (
            SIDE / 2 + radii[i % 2] * math.sin(2 * math.pi * (i / 10 + time / 5)),
            SIDE / 2 - radii[i % 2] * math.cos(2 * math.pi * (i / 10 + time / 5)),
        )
        for i in range(10)
    ]


@dataclass(frozen=True)
class Sheet:
    """One picture: its network, the outline that its hints are drawn from, and the prompts."""

    control: str
    hint: PreprocessName
    outline: Callable[[float], Points]
    prompts: tuple[str, ...]


SHEETS = (
    Sheet("edges", "canny", heart, ("red heart, 3d style", "green heart, flat style")),
    Sheet("shape", "shape", star, ("yellow star, 3d style", "orange starfish, flat style")),
)


def filmed(outline: Callable[[float], Points]) -> np.ndarray:
    """The outline as frames, filled with grey on white."""
    frames = []
    for frame in range(FRAMES):
        page = Image.new("RGB", (4 * SIDE, 4 * SIDE), "white")
        points = [(4 * x, 4 * y) for x, y in outline(frame / FRAMES)]
        ImageDraw.Draw(page).polygon(points, fill=(120, 120, 120))
        frames.append(np.asarray(page.resize((SIDE, SIDE), Image.Resampling.LANCZOS)))
    return np.stack(frames)


def shown(frames: np.ndarray) -> list[np.ndarray]:
    """The frames of the columns, at the size of the picture."""
    return [
        np.asarray(Image.fromarray(frames[i]).resize((SHOWN, SHOWN), Image.Resampling.LANCZOS))
        for i in COLUMNS
    ]


def drawn(sheet: Sheet, *, seed: int) -> Image.Image:
    """The hints, and beneath them the frames of each prompt."""
    film = filmed(sheet.outline)
    rows = {f"hints: --control-preprocess {sheet.hint}": shown(preprocessed(film, name=sheet.hint))}
    with tempfile.TemporaryDirectory() as name:
        for number, frame in enumerate(film):
            Image.fromarray(frame).save(Path(name) / f"{number:03}.png")
        animator = Animator.load("emoji", controls=(sheet.control,))
        for prompt in sheet.prompts:
            request = AnimationRequest(
                prompt=prompt,
                seed=seed,
                controls=(sheet.control,),
                control_inputs=(name,),
                control_preprocess=(sheet.hint,),
            )
            made = animator.animate(request)
            rows[f"{prompt}: --control {sheet.control}"] = shown(made.frames)
    return labelled_grid(rows, columns=[f"frame {i}" for i in COLUMNS])


def moved(*, seed: int) -> Image.Image:
    """A drawn heart, and 15 frames that ``--image`` makes of it."""
    page = Image.new("RGB", (4 * SIDE, 4 * SIDE), "white")
    ImageDraw.Draw(page).polygon([(4 * x, 4 * y) for x, y in heart(0)], fill=(220, 30, 50))
    page = page.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    with tempfile.TemporaryDirectory() as name:
        page.save(Path(name) / "heart.png")
        request = AnimationRequest(
            "a red heart beating", image=str(Path(name) / "heart.png"), seed=seed, upscale=1
        )
        frames = Animator.for_request(request).animate(request).frames
    cells = [np.asarray(page), *frames[1:]]
    return Image.fromarray(np.vstack([np.hstack(cells[:8]), np.hstack(cells[8:])]))


def main() -> None:
    """Draw the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for sheet in SHEETS:
        path = options.docs / "media" / f"control-{sheet.control}.webp"
        drawn(sheet, seed=options.seed).save(path, quality=80, method=6)
        print(path, path.stat().st_size)
    path = options.docs / "media" / "image-to-video.webp"
    moved(seed=options.seed).save(path, quality=85, method=6)
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
