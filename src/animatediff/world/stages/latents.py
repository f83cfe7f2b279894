"""What a denoiser learns from: latents encoded once and kept in memory, each with its facts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

from animatediff.data.shards import Pixels, Sample
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import computes_bf16, seeded
from animatediff.weights.storage.files import write_weights
from animatediff.world.art.stills import to_model_range

Latent = Float[Tensor, "frames channels h w"]


@dataclass(frozen=True)
class LatentClips:
    """Clips as latents, one after another; a still is a clip of one frame."""

    frames: Latent
    starts: Int[Tensor, " clips"]
    lengths: Int[Tensor, " clips"]
    meta: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.meta)

    def windows(
        self, indices: Int[Tensor, " batch"], *, num_frames: int, generator: torch.Generator
    ) -> Float[Tensor, "batch channels frames height width"]:
        """``num_frames`` in a row of each clip, from a random start.

        The built-in world's clips loop without a seam, so a window may pass the end. A clip whose
        facts say ``loops: false`` is shown from its first frame.
        """
        begin = torch.rand(len(indices), generator=generator)
        begin *= torch.tensor([self.meta[i].get("loops", True) for i in indices.tolist()])
        offsets = torch.arange(num_frames)
        lengths = self.lengths[indices][:, None]
        rows = ((begin[:, None] * lengths).long() + offsets) % lengths + self.starts[indices][
            :, None
        ]
        return self.frames[rows].float().transpose(1, 2)


@torch.inference_mode()
def encode_clips(
    samples: Iterable[Sample], autoencoder: AutoencoderKL, path: Path, *, chunk: int = 16
) -> LatentClips:
    """Encode samples to scaled latents and keep them in ``path``; what is there already is read."""
    if not path.exists():
        meta: list[dict[str, Any]] = []

        def pictures() -> Iterator[Pixels]:
            for sample in samples:
                meta.append(sample.meta)
                yield from sample.frames()

        stream = pictures()
        parts = iter(lambda: list(islice(stream, chunk)), [])
        latents = torch.cat([_encode(part, autoencoder) for part in parts])
        write_weights(path, {"frames": latents}, metadata={"meta": json.dumps(meta)})
    return read_latents(path)


def _encode(pictures: Sequence[Pixels], autoencoder: AutoencoderKL) -> Latent:
    pixels = to_model_range(np.stack(pictures)).contiguous(memory_format=torch.channels_last)
    device = pixels.device
    with torch.autocast(device.type, torch.bfloat16, enabled=computes_bf16(device)):
        mean = posterior_of(autoencoder, pixels).mean
    return (mean.float() * autoencoder.config["scaling_factor"]).half().contiguous()


def read_latents(path: Path) -> LatentClips:
    """Latents written by ``encode_clips``."""
    with safe_open(path, "pt") as file:
        meta = json.loads(file.metadata()["meta"])
        frames = file.get_tensor("frames")
    lengths = torch.tensor([m.get("frames", 1) for m in meta])
    return LatentClips(frames, lengths.cumsum(0) - lengths, lengths, meta)


def joined(parts: Sequence[LatentClips]) -> LatentClips:
    """Several sets of clips as one."""
    sizes = torch.tensor([len(part.frames) for part in parts])
    begins = sizes.cumsum(0) - sizes
    return LatentClips(
        torch.cat([part.frames for part in parts]),
        torch.cat([part.starts + begin for part, begin in zip(parts, begins, strict=True)]),
        torch.cat([part.lengths for part in parts]),
        [meta for part in parts for meta in part.meta],
    )


def chosen(clips: LatentClips, keep: Iterable[bool]) -> LatentClips:
    """The clips that are wanted, their latents shared."""
    index = torch.tensor([i for i, wanted in enumerate(keep) if wanted])
    meta = [clips.meta[i] for i in index.tolist()]
    return LatentClips(clips.frames, clips.starts[index], clips.lengths[index], meta)


def few(count: int, *, of: int, seed: int) -> Int[Tensor, " count"]:
    """A fixed random choice, e.g. of pictures to personalise on."""
    return torch.randperm(of, generator=seeded(seed, "few"))[:count].sort().values
