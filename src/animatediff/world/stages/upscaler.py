"""Stage ``upscaler``: from what the autoencoder gives back at 128 px to the same drawing at 512 px.

The art is vector, so true pairs can be rendered at both sizes. Small pictures pass through the
autoencoder, with a little noise on their latents, because that is how frames of an animation look.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from animatediff.data.shards import on_white
from animatediff.model.latent_space import picture_of, posterior_of
from animatediff.model.upscalers.compact import CompactUpscaler
from animatediff.runtime import channels_last, seeded
from animatediff.training.lessons.lesson import Lesson, numbers_themselves
from animatediff.weights.storage.files import write_weights
from animatediff.world.art.emoji import STYLES, read_concepts, render_svg, vector_stills
from animatediff.world.stages.autoencoder import edges
from animatediff.world.stages.folder import read_autoencoder

SCALE = 4
PICTURES = 600
"""Drawings that it learns from."""
CROP = 32
"""Pixels of a side of a small crop."""
SCALE_OF_LOSS = 100.0
"""Brings squared errors of about 0.003 near 1, so that gradients are seldom clipped too far."""
LATENT_NOISE = 0.25
"""The largest standard deviation of the noise on latents, which are about 1."""

Pictures = UInt8[np.ndarray, "pictures height width 3"]


@dataclass
class UpscalerLesson:
    """Enlarge small crops; the loss is the squared error of pixels and of their edges.

    The absolute error does not train here: most of the art is flat, where repeated pixels are right
    already, and its gradient has the same size there as at the edges.
    """

    learns: nn.Module
    small: Pictures
    large: UInt8[np.ndarray, "pictures large_height large_width 3"]

    fetch = staticmethod(numbers_themselves)

    def __post_init__(self) -> None:
        self.size = len(self.small)

    def losses(
        self, indices: Int[Tensor, " batch"], generator: torch.Generator
    ) -> dict[str, Tensor]:
        """The terms of the loss on a random crop of each picture."""
        room = self.small.shape[1] - CROP + 1
        places = torch.randint(room, (len(indices), 2), generator=generator)
        flips = torch.rand(len(indices), generator=generator) < 0.5
        small, large = (
            torch.stack(
                [
                    _crop(pictures[i], place, size=scale * CROP, scale=scale, flip=flip)
                    for i, place, flip in zip(
                        indices.tolist(), places.tolist(), flips.tolist(), strict=True
                    )
                ]
            )
            for pictures, scale in ((self.small, 1), (self.large, SCALE))
        )
        error = self.learns(small).float() - large
        sharpness = sum(((e**2).mean() for e in edges(error)), torch.zeros(()))
        mean = (error**2).mean()
        return {"loss": SCALE_OF_LOSS * (mean + sharpness), "error": mean}


def _crop(
    picture: UInt8[np.ndarray, "height width 3"],
    place: list[int],
    *,
    size: int,
    scale: int,
    flip: bool,
) -> Float[Tensor, "3 size size"]:
    top, left = (scale * each for each in place)
    part = torch.from_numpy(np.ascontiguousarray(picture[top : top + size, left : left + size]))
    pixels = rearrange(part, "h w c -> c h w").float() / 255
    return pixels.flip(-1) if flip else pixels


def prepare(work: Path) -> Lesson:
    """A fresh network and the pairs it learns from; the art must have been fetched.

    Raises:
        FileError: there is no autoencoder yet.
    """
    torch.manual_seed(0)
    network = channels_last(CompactUpscaler(scale=SCALE))
    _begin(network)
    large, small = drawings(work / "packages", count=PICTURES, seed=0)
    return UpscalerLesson(network, as_frames(read_autoencoder(work), small, seed=0), large)


@torch.no_grad()
def _begin(network: CompactUpscaler) -> None:
    """Draw weights that keep the size of features over the layers (He et al., arXiv 1502.01852)."""
    for layer in network.body:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, a=0.25)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    last = network.body[-1]
    assert isinstance(last, nn.Conv2d)
    last.weight.mul_(0.1)


def drawings(
    packages: Path, *, count: int, seed: int, splits: tuple[str, ...] = ("train",)
) -> tuple[Pictures, Pictures]:
    """Vector drawings of some concepts in the base's styles, on white: 512 px, and 128 px.

    Args:
        packages: the folder of the art.
        count: at most so many, chosen at random.
        seed: of the choice.
        splits: whose concepts: ``train``, ``val``, ``test``.
    """
    concepts = read_concepts(packages)
    svgs = [
        svg
        for style in STYLES
        if not style.held_out and style.package.startswith("@iconify-json/")
        for code, svg in vector_stills(style, packages)
        if concepts[code].split in splits
    ]
    chosen = random.Random(seed).sample(svgs, min(count, len(svgs)))
    large, small = (
        np.stack([on_white(render_svg(svg, size=size)) for svg in chosen]) for size in (512, 128)
    )
    return large, small


@torch.inference_mode()
def as_frames(autoencoder: AutoencoderKL, pictures: Pictures, *, seed: int) -> Pictures:
    """The pictures as the autoencoder gives them back, with noise on their latents."""
    restored: list[np.ndarray] = []
    generator = seeded(seed, "latents of upscaler")
    for part in torch.from_numpy(pictures).split(8):
        pixels = rearrange(part, "b h w c -> b c h w").float() / 127.5 - 1
        latents = posterior_of(autoencoder, pixels).mean
        level = torch.rand(len(part), 1, 1, 1, generator=generator) * LATENT_NOISE
        noise = torch.randn(latents.shape, generator=generator)
        seen = picture_of(autoencoder, latents + level * latents.std() * noise)
        bytes_ = ((seen.clamp(-1, 1) + 1) * 127.5).round().byte()
        restored.append(rearrange(bytes_, "b c h w -> b h w c").numpy())
    return np.concatenate(restored)


def keep(work: Path, lesson: Lesson, learned: dict[str, Tensor]) -> Path:
    """Store the network in half precision."""
    del lesson
    path = work / "world" / "upscaler" / "emoji.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: value.half().contiguous() for name, value in learned.items()}
    return write_weights(path, weights, metadata={"kind": "upscaler", "scale": str(SCALE)})


def bicubic(pictures: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 height width"]:
    """The baseline: the same enlargement by bicubic interpolation."""
    return F.interpolate(pictures, scale_factor=SCALE, mode="bicubic", antialias=False).clamp(0, 1)
