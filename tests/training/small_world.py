"""A whole built-in world in the small: art of three styles, an image model, and motion modules.

Rows that make a part anew make a small one once ``make_parts_small`` was called.
"""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tests.tiny_models import new_text_encoder, new_unet, new_vae
from torch import Tensor
from transformers.models.clip.modeling_clip import CLIPTextModel

from animatediff.data.shards import Sample, write_shards
from animatediff.world.scoring.scorer import FACTS_FILE, scorer_folder
from animatediff.world.stages import image_stages, text_stage, upscaler
from animatediff.world.stages.folder import image_model, write_index

SIDE, FRAMES, CLIPS, STILLS = 32, 6, 100, 20
"""As many clips and stills of a style as the longest recipe asks for."""
STYLES = (("noto", True), ("flat", False), ("3d", False))


def write_small_world(work: Path, *, model: Path, motion: Path) -> Path:
    """A world folder whose image model is ``model``, with everything encoded that stages encode."""
    for style, held_out in STYLES:
        write_shards(_stills(style, held_out=held_out), work / "stills" / style)
    write_shards(_clips(), work / "clips")
    shutil.copytree(model, image_model(work))
    write_index(work)
    (work / "world" / "motion").mkdir()
    shutil.copyfile(motion, work / "world" / "motion" / "emoji.safetensors")
    return work


def write_small_art(work: Path, *, styles: Sequence[str]) -> None:
    """Only the art of a small world, with all its facts, for models that come with the package."""
    for style in styles:
        stills = _stills(style, held_out=style in ("noto", "high-contrast"), count=CLIPS)
        write_shards(map(_whole, stills), work / "stills" / style)
    write_shards(map(_whole, _clips()), work / "clips")


def _whole(sample: Sample) -> Sample:
    """A sample of 128 px, as the packaged models draw, with the facts that measurements read.

    It has the number of a concept that the packaged scorer knows.
    """
    facts = sample.meta
    number = int(str(facts["hexcode"]), 16)
    words = [facts["label"], facts.get("motion", ""), str(facts["style_phrase"]).replace("-", " ")]
    told = {
        "hexcode": _known_concepts()[number],
        "group": number % 4,
        "style_phrase": words[2],
        "caption": ", ".join(str(word) for word in words if word),
    }
    image = sample.image.repeat(128 // SIDE, axis=0).repeat(128 // SIDE, axis=1)
    return replace(sample, meta={**facts, **told}, image=image)


@functools.cache
def _known_concepts() -> list[str]:
    return json.loads((scorer_folder(Path("none")) / FACTS_FILE).read_text())["hexcodes"]


PARTS = (
    (text_stage, "MERGES"),
    (text_stage, "PHRASES"),
    (text_stage, "new_text_encoder"),
    (text_stage, "teach"),
    (image_stages, "new_autoencoder"),
    (image_stages, "new_image_unet"),
    (upscaler, "drawings"),
)
"""What ``make_parts_small`` replaces."""


def make_parts_small() -> None:
    """From here on, fresh parts of the world are small and the teacher is a stand-in."""
    text_stage.MERGES, text_stage.PHRASES = 40, 60
    text_stage.new_text_encoder = _text_encoder
    text_stage.teach = _teach
    image_stages.new_autoencoder = new_vae
    image_stages.new_image_unet = new_unet
    upscaler.drawings = _drawings


def _text_encoder(*, vocabulary: int, end_token: int) -> CLIPTextModel:
    assert end_token == vocabulary - 1
    return new_text_encoder(vocabulary)


def _teach(phrases: Sequence[str]) -> Tensor:
    taught = torch.randn(len(phrases), 384, generator=torch.Generator().manual_seed(0))
    return torch.nn.functional.normalize(taught, dim=-1)


def _drawings(packages: Path, *, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    del packages, count, seed
    small = np.random.default_rng(0).integers(0, 255, (4, 64, 64, 3)).astype(np.uint8)
    return small.repeat(upscaler.SCALE, axis=1).repeat(upscaler.SCALE, axis=2), small


def _stills(style: str, *, held_out: bool, count: int = STILLS) -> Iterator[Sample]:
    for number in range(count + 1):
        split = "test" if number == count else "train"
        yield Sample(f"{number}_{style}", _facts(number, style, split, held_out), _drawn(number))


def _clips() -> Iterator[Sample]:
    for number in range(CLIPS + 1):
        picture = _drawn(number)
        frames = [np.roll(picture, 3 * frame, axis=1) for frame in range(FRAMES)]
        facts = _facts(number, "3d", "test" if number == CLIPS else "train", held_out=False)
        facts |= {"frames": FRAMES, "motion": "sliding along"}
        yield Sample(f"{number}_clip", facts, np.concatenate(frames))


def _facts(number: int, style: str, split: str, held_out: bool) -> dict[str, object]:
    return {
        "hexcode": f"{number:x}",
        "label": f"fox {number}",
        "tags": ["an animal"],
        "style": style,
        "style_phrase": f"{style} style",
        "split": split,
        "held_out_style": held_out,
    }


def _drawn(number: int) -> np.ndarray:
    coarse = np.random.default_rng(number).integers(0, 255, (4, 4, 4)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
