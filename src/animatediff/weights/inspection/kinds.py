"""The kinds of file: titles, and the option for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from animatediff.weights.roles import ROLES, Kind


@dataclass(frozen=True)
class KindFacts:
    """One kind of file.

    Attributes:
        title: its name with an article, for sentences.
        option: the option of ``animatediff animate`` that takes it; empty if there is none.
    """

    title: str
    option: str = ""

    @property
    def use(self) -> str:
        """How to use a file of this kind."""
        return f"give it to {self.option}" if self.option else "animate has no use for it yet"


_TITLES: Mapping[Kind, str] = {
    "checkpoint": "an image model",
    "unet": "the U-Net of an image model",
    "text-encoder": "the text encoder of an image model",
    "image-encoder": "an image encoder",
    "vae": "an autoencoder (VAE)",
    "tiny-autoencoder": "a tiny autoencoder (TAESD)",
    "motion": "a motion module",
    "adapter": "a domain adapter",
    "motion-lora": "a MotionLoRA",
    "lora": "an image LoRA",
    "sparse-control": "a SparseCtrl model",
    "controlnet": "a ControlNet",
    "t2i-adapter": "a T2I-Adapter",
    "ip-adapter": "an IP-Adapter",
    "camera": "a camera control model",
    "object-motion": "an object motion model (OMCM)",
    "embedding": "a textual inversion",
    "upscaler": "an upscaler",
    "interpolator": "a frame interpolator",
    "other": "a model of another project",
    "unknown": "a file of no known kind",
}
_OPTIONS = {kind: role.option for role in ROLES.values() for kind in role.kinds}
KINDS: Mapping[Kind, KindFacts] = {
    kind: KindFacts(title, _OPTIONS.get(kind, "")) for kind, title in _TITLES.items()
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
