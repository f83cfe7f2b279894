"""The built-in world's stills and clips as training data: latents encoded once and kept in memory."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from jaxtyping import Float, Int
from safetensors import safe_open
from torch import Tensor

from animatediff.data.footage import EncodedFootage
from animatediff.data.shards import Pixels, Sample
from animatediff.model.latent_space import posterior_of
from animatediff.runtime import computes_bf16
from animatediff.weights.storage.files import write_weights
from animatediff.world.art.captions import caption_of
from animatediff.world.art.stills import to_model_range

Latent = Float[Tensor, "frames channels h w"]


@dataclass(frozen=True)
class LatentClips:
    """Clips as concatenated latents; a still is a clip of one frame.

    Attributes:
        frames: the latents of all clips.
        starts: the index of each clip's first frame.
        lengths: number of frames of each clip.
        meta: the facts of each clip.
        source: a hash of the encoded art.
    """

    frames: Latent
    starts: Int[Tensor, " clips"]
    lengths: Int[Tensor, " clips"]
    meta: list[dict[str, Any]]
    source: str = ""

    def __len__(self) -> int:
        return len(self.meta)

    def footage(self, index: int, *, num_frames: int, generator: torch.Generator) -> EncodedFootage:
        """Return ``num_frames`` consecutive frames from a random start, and one of the clip's captions.

        The built-in world's clips loop seamlessly, so a window may continue at the beginning. A clip
        with the fact ``loops: false`` starts at its first frame.
        """
        rows = self.rows(index, num_frames=num_frames, generator=generator)
        draw = random.Random(int(torch.randint(2**62, (), generator=generator)))
        caption = caption_of(self.meta[index], draw=draw)
        return EncodedFootage(self.frames[rows], None, caption, None)

    def rows(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Int[Tensor, " frames"]:
        """Return the rows of ``frames`` in the window that ``footage`` draws."""
        length, start = int(self.lengths[index]), int(self.starts[index])
        begin = int(torch.randint(length, (), generator=generator))
        if not self.meta[index].get("loops", True):
            begin = 0
        return start + (begin + torch.arange(num_frames)) % length

    def fingerprint(self) -> str:
        """Return a hash of the encoded art and the clips' facts."""
        facts = [self.source, *(json.dumps(meta, sort_keys=True) for meta in self.meta)]
        return hashlib.sha256("\0".join(facts).encode()).hexdigest()


@torch.inference_mode()
def encode_clips(
    samples: Iterable[Sample],
    autoencoder: AutoencoderKL,
    path: Path,
    *,
    source: str = "",
    chunk: int = 16,
) -> LatentClips:
    """Encode samples to scaled latents and store them in ``path``; an existing file is read instead.

    Args:
        samples: the stills or clips.
        autoencoder: encodes them.
        path: the file.
        source: a hash of the current art.
        chunk: pictures encoded at once.
    """
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
    return replace(read_latents(path), source=source)


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
    """Concatenate several sets of clips."""
    sizes = torch.tensor([len(part.frames) for part in parts])
    begins = sizes.cumsum(0) - sizes
    return LatentClips(
        torch.cat([part.frames for part in parts]),
        torch.cat([part.starts + begin for part, begin in zip(parts, begins, strict=True)]),
        torch.cat([part.lengths for part in parts]),
        [meta for part in parts for meta in part.meta],
        " ".join(part.source for part in parts),
    )


def chosen(clips: LatentClips, keep: Iterable[bool]) -> LatentClips:
    """Select clips; they share the latents."""
    index = torch.tensor([i for i, wanted in enumerate(keep) if wanted])
    meta = [clips.meta[i] for i in index.tolist()]
    return replace(clips, starts=clips.starts[index], lengths=clips.lengths[index], meta=meta)
