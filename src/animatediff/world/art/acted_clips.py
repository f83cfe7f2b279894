"""Procedural clips: stills of every base style that act, or that a moving camera films.

The real clips are all in one style. Here any still of the training concepts bounces, spins, sways and
so on, or is filmed by a moving camera, rendered from the vector art under transforms. Clip i is a pure
function of its number, so a bank of clips can be made in parts.
"""

from __future__ import annotations

import functools
import io
import random
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from PIL import Image
from torch.nn import functional as F

from animatediff.data.camera import PATTERNS, WORDS, CameraMove
from animatediff.data.mirroring import may_mirror
from animatediff.data.shards import Sample
from animatediff.runtime import seeded
from animatediff.video.actions import ACTIONS, Action, Affine, largest_fit, scaled
from animatediff.world.art.emoji import (
    CLIP_FPS,
    SIZE,
    STYLES,
    Concept,
    Style,
    raster_assets,
    read_concepts,
    released_by_microsoft,
    render_svg,
    vector_stills,
)

Rgba = UInt8[np.ndarray, "size size 4"]
Moved = Literal["actions", "cameras"]
"""What moves: the thing itself, or the camera."""

NUM_FRAMES = 16
CAMERA_STRENGTH = 0.6


@dataclass(frozen=True)
class Art:
    """The drawings of one style by hexcode: SVG texts, or WebP files."""

    style: Style
    drawings: Mapping[str, str | bytes]

    def render(self, code: str, matrix: Affine) -> Rgba:
        """Render a drawing under a transform, with straight alpha."""
        drawing = self.drawings[code]
        if isinstance(drawing, str):
            return render_svg(under(drawing, matrix))
        return warped(drawing, matrix)


_VIEW = re.compile(
    r'(<svg [^>]*viewBox="([-\d.]+) ([-\d.]+) ([-\d.]+) ([-\d.]+)">)(.*)(</svg>)', re.S
)


def under(svg: str, matrix: Affine) -> str:
    """Transform everything in an SVG, in coordinates from -1 to 1.

    Raises:
        ValueError: it is not laid out as ``art/emoji.py`` writes it.
    """
    found = _VIEW.fullmatch(svg)
    if found is None:
        raise ValueError("This SVG has no viewBox in its first tag.")
    opening, *box, body, closing = found.groups()
    left, top, width, height = map(float, box)
    half = max(width, height) / 2
    to_view = np.array([[half, 0, left + width / 2], [0, half, top + height / 2], [0, 0, 1]])
    a = to_view @ matrix @ np.linalg.inv(to_view)
    numbers = " ".join(f"{a[row, column]:.6g}" for column in range(3) for row in range(2))
    return f'{opening}<g transform="matrix({numbers})">{body}</g>{closing}'


@functools.lru_cache(maxsize=4)
def _premultiplied(webp: bytes) -> torch.Tensor:
    """Crop a picture to a square, with premultiplied colours from 0 to 1."""
    with Image.open(io.BytesIO(webp), formats=["WEBP"]) as image:
        picture = image.convert("RGBA")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    pixels = np.asarray(picture.crop((left, top, left + side, top + side)), dtype=np.float32) / 255
    pixels = np.concatenate([pixels[..., :3] * pixels[..., 3:], pixels[..., 3:]], axis=-1)
    return rearrange(torch.from_numpy(pixels), "h w c -> 1 c h w").contiguous()


def warped(webp: bytes, matrix: Affine) -> Rgba:
    """Transform a raster drawing, with four samples per pixel."""
    source = _premultiplied(webp)
    back = torch.from_numpy(np.linalg.inv(matrix)[None, :2]).float()
    grid = F.affine_grid(back, [1, 4, 2 * SIZE, 2 * SIZE], align_corners=False)
    seen = F.grid_sample(source, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    seen = rearrange(F.avg_pool2d(seen, 2), "1 c h w -> h w c").numpy()
    alpha = seen[..., 3:]
    colour = np.where(alpha > 0, seen[..., :3] / np.maximum(alpha, 1e-6), 0)
    return np.rint(np.concatenate([colour, alpha], axis=-1).clip(0, 1) * 255).astype(np.uint8)


def hull_of(picture: Rgba, *, directions: int = 24) -> Float[np.ndarray, "points 2"]:
    """Return the convex hull of a drawing, in coordinates from -1 to 1; the corners if empty."""
    rows, columns = np.nonzero(picture[..., 3] > 25)
    if not len(rows):
        return np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    side = picture.shape[0] / 2
    points = np.stack([(columns + 0.5) / side - 1, (rows + 0.5) / side - 1], axis=-1)
    angles = np.arange(directions) * (2 * np.pi / directions)
    furthest = (points @ np.stack([np.cos(angles), np.sin(angles)])).argmax(axis=0)
    return points[furthest]


class ActedClips:
    """A bank of procedural clips.

    Args:
        packages: the folder of the art's packages.
        moved: what moves: the thing, or the camera.
    """

    def __init__(self, packages: Path, *, moved: Moved) -> None:
        self.moved: Moved = moved
        self.concepts = read_concepts(packages)
        self.art = tuple(
            Art(style, _training_drawings(style, packages, self.concepts))
            for style in STYLES
            if not style.held_out
        )

    def samples(self, first: int, count: int) -> Iterator[Sample]:
        """Yield ``count`` clips from number ``first`` on."""
        return (self.clip(number) for number in range(first, first + count))

    def clip(self, number: int) -> Sample:
        """Make a clip; its number decides style, concept and motion."""
        seed = int(torch.randint(2**62, (), generator=seeded("acted", self.moved, number)))
        draw = random.Random(seed)
        art = draw.choice(self.art)
        code = draw.choice(sorted(art.drawings))
        concept = self.concepts[code]
        still = art.render(code, np.eye(3))
        if self.moved == "actions":
            name, words, matrices = _acting(still, draw)
        else:
            name, words, matrices = _filmed(draw)
        mirrored = draw.random() < 0.5 and may_mirror(concept.label)
        flip = scaled(-1, 1) if mirrored else np.eye(3)
        frames = np.stack([art.render(code, matrix @ flip) for matrix in matrices])
        facts = concept.facts(art.style) | {
            "frames": NUM_FRAMES,
            "fps": CLIP_FPS,
            "motion": words[0],
            "actions": list(words),
            "action": name,
            "caption": f"{concept.label}, {words[0]}, {art.style.phrase}",
            "mirrored": mirrored,
            "loops": False,
        }
        return Sample(f"{number:05d}_{self.moved}", facts, frames.reshape(-1, *frames.shape[2:]))


def _acting(still: Rgba, draw: random.Random) -> tuple[str, tuple[str, ...], list[Affine]]:
    """Name, words and transforms of a drawn action, so that the thing stays in the picture."""
    action = Action.drawn(draw.choice(sorted(ACTIONS)), draw)
    hull = hull_of(still)
    foot = float(hull[:, 1].max())
    size = largest_fit(hull, action.transforms(NUM_FRAMES, foot=foot))
    smaller = scaled(size, size)
    matrices = [m @ smaller for m in action.transforms(NUM_FRAMES, foot=foot * size)]
    return action.name, action.words, matrices


def _filmed(draw: random.Random) -> tuple[str, tuple[str, ...], list[Affine]]:
    """Name, words and transforms of a drawn camera move."""
    pattern = draw.choice(PATTERNS)
    generator = torch.Generator().manual_seed(draw.getrandbits(62))
    strength = draw.uniform(0.4, 1) * CAMERA_STRENGTH
    move = CameraMove.drawn(f"{pattern}:{strength:.3f}", generator, margin=1.0)
    crops = [move.crop_at(i / (NUM_FRAMES - 1)) for i in range(NUM_FRAMES)]
    row = np.array([[0.0, 0.0, 1.0]])
    seen = [np.concatenate([crop.matrix().numpy().astype(np.float64), row]) for crop in crops]
    return pattern, (WORDS[pattern],), [np.linalg.inv(matrix) for matrix in seen]


def _training_drawings(
    style: Style, packages: Path, concepts: Mapping[str, Concept]
) -> dict[str, str | bytes]:
    """Return a style's drawings of the training concepts."""
    drawings: Iterator[tuple[str, str]] | Iterator[tuple[str, bytes]]
    wanted: Callable[[str], Any] = concepts.__contains__
    if style.package.startswith("@iconify-json/"):
        drawings = vector_stills(style, packages)
    else:
        released = released_by_microsoft(packages)
        wanted = released.__contains__
        drawings = raster_assets([style.package], packages)
    return {
        code: drawing
        for code, drawing in drawings
        if wanted(code) and code in concepts and concepts[code].split == "train"
    }
