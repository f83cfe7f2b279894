"""What kinds of file there are, what to call them, and what to do with each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "checkpoint",
    "unet",
    "text-encoder",
    "image-encoder",
    "vae",
    "tiny-autoencoder",
    "motion",
    "adapter",
    "motion-lora",
    "lora",
    "sparse-control",
    "controlnet",
    "t2i-adapter",
    "ip-adapter",
    "embedding",
    "other",
    "unknown",
]
"""What a file is for; ``other`` is a model of another project, ``unknown`` none that is known."""


@dataclass(frozen=True)
class KindFacts:
    """One kind of file.

    Attributes:
        title: what a sentence calls it, with its article.
        option: the option of ``animatediff animate`` that takes it; empty if none does.
    """

    title: str
    option: str = ""

    @property
    def use(self) -> str:
        """What to do with it."""
        return f"give it to {self.option}" if self.option else "animate has no use for it yet"


KINDS: Mapping[Kind, KindFacts] = {
    "checkpoint": KindFacts("an image model", "--model"),
    "unet": KindFacts("the U-Net of an image model"),
    "text-encoder": KindFacts("the text encoder of an image model"),
    "image-encoder": KindFacts("an image encoder"),
    "vae": KindFacts("an autoencoder (VAE)", "--vae"),
    "tiny-autoencoder": KindFacts("a tiny autoencoder (TAESD)"),
    "motion": KindFacts("a motion module", "--motion"),
    "adapter": KindFacts("a domain adapter", "--adapter"),
    "motion-lora": KindFacts("a MotionLoRA", "--motion-lora"),
    "lora": KindFacts("an image LoRA", "--lora"),
    "sparse-control": KindFacts("a SparseCtrl model"),
    "controlnet": KindFacts("a ControlNet"),
    "t2i-adapter": KindFacts("a T2I-Adapter"),
    "ip-adapter": KindFacts("an IP-Adapter"),
    "embedding": KindFacts("a textual inversion", "--embedding"),
    "other": KindFacts("a model of another project"),
    "unknown": KindFacts("a file of no known kind"),
}

BASE_TITLES: Mapping[str, str] = {
    "sd15": "Stable Diffusion 1.5",
    "sd2": "Stable Diffusion 2",
    "sdxl": "SDXL",
    "own": "another shape",
}
"""The image models that a file can belong to."""

BASE_OF_WIDTH: Mapping[int, str] = {768: "sd15", 1024: "sd2", 1280: "sdxl", 2048: "sdxl"}
"""Of the text that an image model reads: SDXL's second encoder has 1280, both together 2048."""
