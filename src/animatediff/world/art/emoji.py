"""The built-in world's art: emoji of nine permissive styles as stills, and 699 animated clips.

Concepts are the base emoji of the Unicode list (no flags, no skin tones). Concepts are split by a
stable hash, the same for stills of every style and for clips, so that a held-out concept was never
seen in any style, still or moving. Noto and the high-contrast glyphs are held out whole from the
base model: stills of Noto are only ever used to personalise, as Sec. 5 of the paper does with
community models (arXiv 2307.04725).
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from animatediff.data.shards import Sample, write_shards
from animatediff.world.art.motion_words import motion_of
from animatediff.world.art.packages import PACKAGES, fetch, open_package, read_member

SIZE = 128
CLIP_FPS = 8
FLAGS, COMPONENTS = 9, 2


@dataclass(frozen=True)
class Style:
    """A set of drawings: its source, its phrase in captions, and whether it is held out."""

    name: str
    phrase: str
    package: str
    held_out: bool = False


STYLES = (
    Style("noto", "noto style", "@iconify-json/noto", held_out=True),
    Style(
        "high-contrast",
        "high contrast style",
        "@iconify-json/fluent-emoji-high-contrast",
        held_out=True,
    ),
    Style("blob", "blob style", "@iconify-json/noto-v1"),
    Style("twemoji", "twemoji style", "@iconify-json/twemoji"),
    Style("flat", "flat style", "@iconify-json/fluent-emoji-flat"),
    Style("gradient", "gradient style", "@iconify-json/fluent-emoji"),
    Style("3d", "3d style", "@lobehub/fluent-emoji-3d"),
    Style("emojione", "emojione style", "@iconify-json/emojione"),
    Style("firefox", "firefox style", "@iconify-json/fxemoji"),
)
CLIP_STYLE = "3d"


@dataclass(frozen=True)
class Concept:
    """A concept: one emoji."""

    hexcode: str
    label: str
    tags: tuple[str, ...]
    group: int

    @property
    def split(self) -> str:
        """``train`` (90 %), ``val`` or ``test`` (5 % each), by a stable hash of the code point."""
        bucket = int(hashlib.sha256(self.hexcode.encode()).hexdigest(), 16) % 20
        return {0: "val", 1: "test"}.get(bucket, "train")

    def facts(self, style: Style) -> dict[str, Any]:
        """Return the facts of a picture of this concept, for a shard's JSON."""
        return {
            "hexcode": self.hexcode,
            "label": self.label,
            "tags": list(self.tags),
            "group": self.group,
            "split": self.split,
            "style": style.name,
            "style_phrase": style.phrase,
            "held_out_style": style.held_out,
            "caption": f"{self.label}, {style.phrase}",
        }


def hexcode_of(name: str) -> str:
    """Normalise a code point sequence: lower case, without the emoji presentation selector."""
    return "-".join(part for part in name.lower().split("-") if part != "fe0f")


# In the animation packages, but not in Microsoft's own list of released animations.
UNCLEARED_CLIPS = frozenset(
    hexcode_of(name)
    for name in """
    1f468-200d-1f466 1f468-200d-1f466-200d-1f466 1f468-200d-1f467 1f468-200d-1f467-200d-1f466
    1f468-200d-1f467-200d-1f467 1f468-200d-1f468-200d-1f466 1f468-200d-1f468-200d-1f466-200d-1f466
    1f468-200d-1f468-200d-1f467 1f468-200d-1f468-200d-1f467-200d-1f467 1f468-200d-1f469-200d-1f466
    1f468-200d-1f469-200d-1f466-200d-1f466 1f468-200d-1f469-200d-1f467
    1f468-200d-1f469-200d-1f467-200d-1f466 1f468-200d-1f469-200d-1f467-200d-1f467 1f468-200d-1f4bb
    1f468-200d-2764-fe0f-200d-1f468 1f469-200d-1f466 1f469-200d-1f466-200d-1f466 1f469-200d-1f467
    1f469-200d-1f467-200d-1f466 1f469-200d-1f467-200d-1f467 1f469-200d-1f469-200d-1f466
    1f469-200d-1f469-200d-1f467 1f469-200d-1f469-200d-1f466-200d-1f466
    1f469-200d-2764-fe0f-200d-1f468 1f469-200d-2764-fe0f-200d-1f469
    1f469-200d-2764-fe0f-200d-1f48b-200d-1f469 1f46a 1f46b 1f46c 1f46d 1f48f 1f491
    1f9d1-200d-1f4bb 1f9d1-200d-1f91d-200d-1f9d1
    """.split()
)


def read_concepts(packages: Path) -> dict[str, Concept]:
    """Read every concept by its hexcode, in the Unicode order."""
    entries = json.loads(read_member("emojibase-data", "en/data.json", packages))
    kept = [e for e in entries if e.get("group") not in (None, FLAGS, COMPONENTS)]
    return {
        (code := hexcode_of(e["hexcode"])): Concept(
            code, e["label"].lower(), tuple(t.lower() for t in e.get("tags", ())), e["group"]
        )
        for e in sorted(kept, key=lambda e: e["order"])
    }


# --- stills ---------------------------------------------------------------------------------------


def _slug(label: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", label.replace("’", "").replace("&", "and")).strip("-")


def _icon_names(style: Style, icons: dict[str, Any], packages: Path) -> dict[str, str]:
    """Map hexcodes to a set's icon names, by the set's own table or the concepts' labels."""
    concepts = read_concepts(packages)
    names: dict[str, str] = {}
    with open_package(style.package, packages) as archive:
        if "package/chars.json" in archive.getnames():
            table = json.loads(read_member(style.package, "chars.json", packages))
            names = {hexcode_of(code): name for code, name in table.items()}
    known = icons["icons"].keys() | icons.get("aliases", {}).keys()
    without_hyphens = {name.replace("-", ""): name for name in known}
    for code, concept in concepts.items():
        slug = _slug(concept.label)
        if names.get(code) not in known:
            found = slug if slug in known else without_hyphens.get(slug.replace("-", ""))
            names.pop(code, None)
            if found is not None:
                names[code] = found
    return {code: name for code, name in names.items() if code in concepts}


def _svg(icons: dict[str, Any], name: str) -> str:
    """Return an icon of an iconify set as a standalone SVG, with aliases resolved."""
    flip = rotate = 0
    icon: dict[str, Any] = {}
    while name not in icons["icons"]:
        alias = icons["aliases"][name]
        flip ^= bool(alias.get("hFlip"))
        rotate += alias.get("rotate", 0)
        name = alias["parent"]
    icon = icons["icons"][name]
    left, top = icon.get("left", 0), icon.get("top", 0)
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    body = icon["body"].replace("currentColor", "#000")
    if rotate:
        body = (
            f'<g transform="rotate({90 * rotate} {left + width / 2} {top + height / 2})">{body}</g>'
        )
    if flip:
        body = f'<g transform="translate({2 * left + width} 0) scale(-1 1)">{body}</g>'
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{left} {top} {width} {height}">{body}</svg>'
    )


def render_svg(svg: str, *, size: int = SIZE) -> UInt8[np.ndarray, "size size 4"]:
    """Render an SVG with straight alpha."""
    import resvg_py

    png = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=size, height=size))
    with Image.open(io.BytesIO(png), formats=["PNG"]) as picture:
        return _squared(picture.convert("RGBA"), size=size)


def _squared(picture: Image.Image, *, size: int = SIZE) -> UInt8[np.ndarray, "size size 4"]:
    """Crop to a square and resize to ``size``, colours premultiplied while resampling."""
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side))
    if side != size:
        square = square.convert("RGBa").resize((size, size), Image.Resampling.BOX).convert("RGBA")
    return np.asarray(square)


def vector_stills(style: Style, packages: Path) -> Iterator[tuple[str, str]]:
    """Yield the hexcode and SVG of every concept in a vector style."""
    icons = json.loads(read_member(style.package, "icons.json", packages))
    for code, name in sorted(_icon_names(style, icons, packages).items()):
        yield code, _svg(icons, name)


def render_stills(style: Style, packages: Path, folder: Path) -> int:
    """Render every concept in a style to shards; return their number."""
    concepts = read_concepts(packages)

    def samples() -> Iterator[Sample]:
        if style.package.startswith("@iconify-json/"):
            for code, svg in vector_stills(style, packages):
                yield Sample(
                    f"{code}.{style.name}".replace(".", "_"),
                    concepts[code].facts(style),
                    render_svg(svg),
                )
            return
        released = released_by_microsoft(packages)
        for code, picture in raster_assets([style.package], packages):
            if code in concepts and code in released:
                with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
                    pixels = _squared(image.convert("RGBA"))
                yield Sample(f"{code}_{style.name}", concepts[code].facts(style), pixels)

    return write_shards(samples(), folder / style.name)


def released_by_microsoft(packages: Path) -> set[str]:
    """Return the concepts in Microsoft's own set; the rest of the package has another source."""
    flat = next(style for style in STYLES if style.name == "flat")
    icons = json.loads(read_member(flat.package, "icons.json", packages))
    return set(_icon_names(flat, icons, packages))


def raster_assets(names: list[str], packages: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the hexcode and WebP file of everything in these packages."""
    for name in names:
        with open_package(name, packages) as archive:
            for member in archive:
                if member.name.endswith(".webp"):
                    stream = archive.extractfile(member)
                    assert stream is not None
                    yield hexcode_of(Path(member.name).stem), stream.read()


# --- clips ----------------------------------------------------------------------------------------


def decode_clip(webp: bytes) -> UInt8[np.ndarray, "frames size size 4"] | None:
    """Decode an animation at ``CLIP_FPS``; ``None`` if the file is a still."""
    with Image.open(io.BytesIO(webp), formats=["WEBP"]) as animation:
        count = getattr(animation, "n_frames", 1)
        if count == 1:
            return None
        times: list[float] = []
        clock = 0.0
        frames: list[Image.Image] = []
        for index in range(count):
            animation.seek(index)
            frames.append(animation.convert("RGBA"))
            times.append(clock)
            clock += float(animation.info.get("duration", 42))
    wanted = np.arange(0, clock - 1e-6, 1000 / CLIP_FPS)
    shown = np.searchsorted(np.asarray(times), wanted, side="right") - 1
    return np.stack([_squared(frames[i]) for i in shown])


def _clip_sample(item: tuple[str, bytes], *, concepts: dict[str, Concept]) -> Sample | None:
    code, webp = item
    frames = decode_clip(webp)
    if frames is None:
        return None
    style = next(s for s in STYLES if s.name == CLIP_STYLE)
    motion = motion_of(frames)
    facts = concepts[code].facts(style) | {
        "frames": len(frames),
        "fps": CLIP_FPS,
        "motion": motion.phrase,
        "motion_amount": round(motion.amount, 5),
        "caption": f"{concepts[code].label}, {motion.phrase}, {style.phrase}",
    }
    strip = frames.reshape(-1, SIZE, 4)
    return Sample(f"{code}_clip", facts, strip)


def render_clips(packages: Path, folder: Path) -> int:
    """Decode every cleared animation to shards of strips; return their number."""
    concepts = read_concepts(packages)
    names = [p.name for p in PACKAGES if "emoji-anim" in p.name]
    wanted = (
        (code, webp)
        for code, webp in raster_assets(names, packages)
        if code in concepts and code not in UNCLEARED_CLIPS
    )
    with ProcessPoolExecutor() as pool:
        decoded = pool.map(functools.partial(_clip_sample, concepts=concepts), wanted, chunksize=8)
        clips = sorted((s for s in decoded if s is not None), key=lambda s: s.key)
    return write_shards(clips, folder, per_shard=100)


def render_world(work: Path) -> dict[str, int]:
    """Fetch, check and render everything into ``work``; existing results are kept.

    Returns the number of stills of each style and of clips, also written to ``work/counts.json``.
    """
    record = work / "counts.json"
    counts: dict[str, int] = json.loads(record.read_text()) if record.exists() else {}
    packages = work / "packages"
    for package in PACKAGES:
        fetch(package, packages)
    with ProcessPoolExecutor() as pool:
        jobs = {
            style.name: pool.submit(render_stills, style, packages, work / "stills")
            for style in STYLES
            if style.name not in counts
        }
        counts |= {name: job.result() for name, job in jobs.items()}
    if "clips" not in counts:
        counts["clips"] = render_clips(packages, work / "clips")
    record.write_text(json.dumps(counts, indent=1))
    return counts
