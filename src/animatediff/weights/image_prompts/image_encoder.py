"""CLIP's image encoder, from a user's file or folder: it reads the pictures of IP-Adapter.

No package ships one. The published ones are OpenCLIP ViT-H/14 (for Stable Diffusion 1.5 and the
``vit-h`` files of SDXL) and ViT-bigG/14 (for SDXL's other files). A single file has no configuration,
so the network is inferred from its shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from PIL import Image
from torch import Tensor

from animatediff.errors import FileError
from animatediff.weights.image_model.parts import Part, build_from, pair
from animatediff.weights.image_model.single_file import Source
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.storage.files import Header, read_header, read_json

if TYPE_CHECKING:
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""CLIP's normalisation of red, green and blue."""

_HEAD_WIDTHS: Mapping[int, int] = {768: 64, 1024: 64, 1280: 80, 1664: 104}
"""Channels of an attention head by those of a layer: ViT-B, L, H and bigG."""
_NAMES = ("model.safetensors", "model.fp16.safetensors")


@dataclass
class ImageEncoder:
    """An image encoder, read at its first use.

    Attributes:
        part: the network and its file.
        device: where its weights are, in fp32.
    """

    part: Part
    device: torch.device

    @property
    def path(self) -> Path:
        """Its file."""
        return self.part.header.path

    @property
    def width(self) -> int:
        """Channels of a hidden state."""
        return int(self._config["hidden_size"])

    @property
    def embedding(self) -> int:
        """Channels of the pooled embedding."""
        return int(self._config["projection_dim"])

    @property
    def _config(self) -> dict[str, Any]:
        return cast("CLIPVisionModelWithProjection", self.part.module).config.to_dict()

    def move(self, device: torch.device) -> None:
        """Have its weights on another device from now on."""
        self.device = device
        if not any(parameter.is_meta for parameter in self.part.module.parameters()):
            self.part.module.to(device)

    @cached_property
    def _network(self) -> CLIPVisionModelWithProjection:
        self.part.fill(dtype=torch.float32, device=self.device)
        return cast("CLIPVisionModelWithProjection", self.part.module)

    @torch.inference_mode()
    def pooled(
        self, pictures: list[UInt8[ndarray, "h w 3"]], *, device: torch.device
    ) -> Float[Tensor, "i e"]:
        """The embedding of each picture, on ``device``: what the base form of IP-Adapter reads."""
        return self._network(self._pixels(pictures).to(device)).image_embeds

    @torch.inference_mode()
    def patches(
        self, pictures: list[UInt8[ndarray, "h w 3"]], *, device: torch.device
    ) -> Float[Tensor, "i p e"]:
        """The hidden states before the last layer: what plus and full forms read."""
        return self._hidden(self._pixels(pictures).to(device))

    @torch.inference_mode()
    def no_patches(self, *, device: torch.device) -> Float[Tensor, "1 p e"]:
        """The hidden states of a picture of zeros, which stand for no picture."""
        side = int(self._config["image_size"])
        return self._hidden(torch.zeros(1, 3, side, side, device=device))

    def _hidden(self, pixels: Float[Tensor, "i 3 h w"]) -> Float[Tensor, "i p e"]:
        return self._network(pixels, output_hidden_states=True).hidden_states[-2]

    def _pixels(self, pictures: list[UInt8[ndarray, "h w 3"]]) -> Float[Tensor, "i 3 s s"]:
        side = int(self._config["image_size"])
        return torch.stack([clip_pixels(picture, side=side) for picture in pictures])


def clip_pixels(picture: UInt8[ndarray, "h w 3"], *, side: int = 224) -> Float[Tensor, "3 s s"]:
    """A picture as CLIP reads it: shorter side resized (bicubic), centre cropped, normalised."""
    image = Image.fromarray(picture)
    short = min(image.size)
    size = (side * image.width // short, side * image.height // short)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side))
    unit = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).reshape(side, side, 3)
    mean, std = torch.tensor(MEAN), torch.tensor(STD)
    return ((unit.float() / 255 - mean) / std).permute(2, 0, 1)


def plan_image_encoder(path: Path, *, device: torch.device) -> ImageEncoder:
    """Check an image encoder down to every name and shape; nothing large is read.

    Args:
        path: a file, or a folder with ``config.json``; also a folder with a folder ``image_encoder``.
        device: where it will run.

    Raises:
        FileError: it is something else, or broken.
    """
    from transformers.models.clip.configuration_clip import CLIPVisionConfig
    from transformers.models.clip.modeling_clip import CLIPVisionModelWithProjection

    weights = encoder_weights(path) if path.is_dir() else path
    header = read_header(weights)
    check_kind(inspect_header(header), "image-encoder")
    if "vision_model.embeddings.class_embedding" not in header.shapes:
        raise FileError(
            f"{header.path} is an image encoder with OpenCLIP's own names; "
            "get the one in transformers' layout, such as the image_encoder folder of IP-Adapter."
        )
    config = _config_beside(weights) or _config_from(header)
    module = build_from(
        header.path,
        lambda: CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(dict(config))),
    )
    sources = {name: Source(name) for name in module.state_dict()}
    spare = ("text_model.", "text_projection", "logit_scale")
    return ImageEncoder(pair(module, header, sources, spare=spare), device)


def encoder_weights(path: Path) -> Path:
    """The weights in an image encoder's folder, or in the folder ``image_encoder`` below it.

    Raises:
        FileError: there are none.
    """
    folder = path / "image_encoder" if (path / "image_encoder").is_dir() else path
    for name in _NAMES:
        if (folder / name).is_file():
            return folder / name
    raise FileError(f"{folder} is not an image encoder's folder: it has no {_NAMES[0]}.")


def _config_beside(weights: Path) -> dict[str, Any]:
    """The configuration of a CLIP model in the same folder; empty if there is none."""
    path = weights.parent / "config.json"
    config = read_json(path) if weights.name in _NAMES and path.is_file() else {}
    return dict(config.get("vision_config") or config)


def _config_from(header: Header) -> dict[str, Any]:
    """The configuration of CLIP's vision model that has these shapes."""
    shapes = header.shapes
    try:
        width, _, patch, _ = shapes["vision_model.embeddings.patch_embedding.weight"]
        rows = shapes["vision_model.embeddings.position_embedding.weight"][0]
        inner = shapes["vision_model.encoder.layers.0.mlp.fc1.weight"][0]
        projection = shapes["visual_projection.weight"][0]
    except (KeyError, ValueError, IndexError):
        raise FileError(
            f"{header.path} is not an image encoder with a projection; IP-Adapter needs CLIP's "
            "vision model with visual_projection."
        ) from None
    numbers = (re.search(r"encoder\.layers\.(\d+)\.", name) for name in shapes)
    layers = 1 + max(int(match[1]) for match in numbers if match)
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "projection_dim": projection,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, width // _HEAD_WIDTHS.get(width, 64)),
        "patch_size": patch,
        "image_size": round((rows - 1) ** 0.5) * patch,
        # OpenAI's ViT-L/14 has an approximate GELU, OpenCLIP's networks the exact one.
        "hidden_act": "quick_gelu" if width <= 1024 else "gelu",
    }
