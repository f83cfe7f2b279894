"""Training clips of the built-in world's motion modules: several kinds, each encoded once.

``clips`` are the real clips and their mirror images. ``actions`` are stills with procedural actions and
``cameras`` stills filmed by a moving camera, both in every style of the base. ``gentle`` are actions
that end where they began. ``stills`` are pictures of every style without motion.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from animatediff.data.mirroring import may_mirror
from animatediff.data.shards import Sample, fingerprint_of, read_shards
from animatediff.errors import InputError
from animatediff.runtime import channels_last
from animatediff.video.actions import ACTIONS
from animatediff.world.art.acted_clips import ActedClips, Moved
from animatediff.world.stages.folder import read_autoencoder
from animatediff.world.stages.image_stages import read_still_latents
from animatediff.world.stages.latents import LatentClips, chosen, encode_clips, joined
from animatediff.world.stages.mixture import Kind, Mixture, mixed

KindName = Literal["clips", "actions", "gentle", "stills", "cameras"]

STANDING_STILL = "standing still"
"""What captions say of a still that is shown as a clip."""

GENTLE = frozenset({"bounce", "nod", "pulse", "rock", "shake", "squash", "sway", "to-and-fro"})
"""Actions after which a thing is where and as it was: it neither turns over, nor grows, nor leaves."""

SLICE = 200
"""Clips of a bank that are encoded to one file."""
SLICES: Mapping[Moved, int] = {"actions": 8, "cameras": 2}
"""Files of each bank."""


def training_clips(work: Path, mix: tuple[str, ...]) -> Mixture:
    """Read the training clips of each kind that ``mix`` names, e.g. ``clips:0.55 stills:0.45``.

    Raises:
        InputError: there is no such kind, or the shares do not add up to 1.
        FileError: the art has not been rendered yet.
    """
    return mixed([Kind(name, share, _READ[name](work)) for name, share in parse_mix(mix)])


def parse_mix(mix: tuple[str, ...]) -> list[tuple[KindName, float]]:
    """Parse kinds of clips and their shares; without any, the real clips alone.

    Raises:
        InputError: there is no such kind, or a share is not a number.
    """
    parsed: list[tuple[KindName, float]] = []
    for word in mix or ("clips:1",):
        name, _, number = word.partition(":")
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        kind: KindName | None = next((known for known in _READ if known == name), None)
        if kind is None or not 0 < share <= 1:
            raise InputError(
                f"--mix {word:.40} is not a kind of clips and its share; "
                f"write one of {', '.join(_READ)}, a colon and a number up to 1."
            )
        parsed.append((kind, share))
    return parsed


def read_clip_latents(work: Path) -> LatentClips:
    """Read every real clip of every split as latents, encoded once."""
    return encode_clips(
        read_shards(work / "clips"),
        channels_last(read_autoencoder(work)),
        work / "latents-clips.safetensors",
        source=fingerprint_of(work / "clips"),
    )


def read_mirrored_latents(work: Path) -> LatentClips:
    """Read every real clip that may be mirrored, mirrored and encoded once."""
    return encode_clips(
        (mirrored(s) for s in read_shards(work / "clips") if may_mirror(s.meta["label"])),
        channels_last(read_autoencoder(work)),
        work / "latents-clips-mirrored.safetensors",
    )


def mirrored(sample: Sample) -> Sample:
    """Mirror a clip."""
    return replace(sample, meta={**sample.meta, "mirrored": True}, image=sample.image[:, ::-1])


def read_bank(work: Path, moved: Moved) -> LatentClips:
    """Read a bank of procedural clips, encoded once, with a file for every ``SLICE`` of them."""
    return joined([encode_slice(work, moved, number) for number in range(SLICES[moved])])


def encode_slice(work: Path, moved: Moved, number: int) -> LatentClips:
    """Encode one file of a bank."""

    def samples() -> Iterator[Sample]:
        bank = ActedClips(work / "packages", moved=moved)
        yield from bank.samples(number * SLICE, SLICE)

    folder = work / f"latents-{moved}"
    folder.mkdir(exist_ok=True)
    return encode_clips(
        samples(), channels_last(read_autoencoder(work)), folder / f"{number:03d}.safetensors"
    )


def _real(work: Path) -> LatentClips:
    clips = joined([read_clip_latents(work), read_mirrored_latents(work)])
    return chosen(clips, (m["split"] == "train" for m in clips.meta))


def _gentle(work: Path) -> LatentClips:
    bank = read_bank(work, "actions")
    words = {ACTIONS[name].words[0] for name in GENTLE}
    return chosen(bank, (m["motion"] in words for m in bank.meta))


def _still(work: Path) -> LatentClips:
    stills = read_still_latents(work)
    wanted = (m["split"] == "train" and not m["held_out_style"] for m in stills.meta)
    found = chosen(stills, wanted)
    return replace(found, meta=[{**m, "motion": STANDING_STILL} for m in found.meta])


_READ: Mapping[KindName, Callable[[Path], LatentClips]] = {
    "clips": _real,
    "actions": lambda work: read_bank(work, "actions"),
    "gentle": _gentle,
    "stills": _still,
    "cameras": lambda work: read_bank(work, "cameras"),
}
