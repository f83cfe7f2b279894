"""The built-in world's pictures with hints: edges or shapes, drawn once and kept beside the latents."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from safetensors import safe_open
from torch import Tensor

from animatediff.data.footage import Footage
from animatediff.data.shards import fingerprint_of, on_white, read_shards
from animatediff.video.preprocess import PreprocessName, preprocessed
from animatediff.weights.storage.files import write_weights
from animatediff.world.stages.image_stages import read_still_latents
from animatediff.world.stages.latents import LatentClips, chosen
from animatediff.world.stages.mixture import Kind, Mixture, mixed
from animatediff.world.stages.moving_art import read_clip_latents

STILLS, CLIPS = 0.6, 0.4
"""How often a hinted picture is a still, and how often a frame of a clip."""


@dataclass(frozen=True)
class HintClips:
    """The hints of clips, drawn as the clips are.

    Attributes:
        clips: the clips.
        hints: of every frame of theirs, grey.
        name: what they are.
    """

    clips: Mixture
    hints: UInt8[Tensor, "frames height width"]
    name: str

    def __len__(self) -> int:
        return len(self.clips)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> Footage:
        """The hints of the window that the clips show for the same generator."""
        rows = self.clips.rows(index, num_frames=num_frames, generator=generator)
        grey = self.hints[rows].numpy()
        return Footage(np.repeat(grey[..., None], 3, axis=3), "")

    def fingerprint(self) -> str:
        """A hash of the clips and of the hints drawn from them."""
        return hashlib.sha256(f"{self.clips.fingerprint()} {self.name}".encode()).hexdigest()


def hinted_pictures(work: Path, *, hint: PreprocessName) -> tuple[Mixture, HintClips]:
    """Training stills of every style that is not held out with frames of training clips, and hints."""
    stills, clips = read_still_latents(work), read_clip_latents(work)
    pictures = mixed(
        [
            Kind("stills", STILLS, _training(stills)),
            Kind("clips", CLIPS, _training(clips)),
        ]
    )
    drawn = [read_hints(work, kind, hint=hint) for kind in ("stills", "clips")]
    return pictures, HintClips(pictures, torch.cat(drawn), hint)


def read_hints(
    work: Path, kind: Literal["stills", "clips"], *, hint: PreprocessName
) -> UInt8[Tensor, "frames height width"]:
    """The hints of all stills or clips of every split, in the order of their latents, drawn once."""
    path = work / f"hints-{hint}-{kind}.safetensors"
    source = fingerprint_of(work / kind)
    if path.exists():
        with safe_open(path, "pt") as file:
            if file.metadata().get("source") == source:
                return file.get_tensor("hints")
    drawn = [
        preprocessed(on_white(sample.frames()), name=hint)[..., 0]
        for sample in read_shards(work / kind)
    ]
    hints = torch.from_numpy(np.concatenate(drawn))
    write_weights(path, {"hints": hints}, metadata={"source": source})
    return hints


def _training(clips: LatentClips) -> LatentClips:
    return chosen(
        clips, (m["split"] == "train" and not m.get("held_out_style") for m in clips.meta)
    )
