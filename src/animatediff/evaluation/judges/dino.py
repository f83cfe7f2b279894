"""DINO (arXiv 2104.14294) and DINOv2 for the consistency of frames, from a user's folder."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from animatediff.evaluation.judges.folders import config_of, digest_of, load_network, weights_of
from animatediff.evaluation.judges.judge import Frames

OPTION = "--dino"
SIDE = 224
"""The size at which VBench and FreeInit read frames."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""ImageNet's normalisation of red, green and blue."""
_BATCH = 16


class Dino:
    """A vision transformer whose class token describes a frame, read at its first use.

    Args:
        folder: in transformers' layout, of the type ``vit`` (DINO) or ``dinov2``.
        device: where it runs, in fp32.

    Raises:
        FileError: the folder does not contain such a network.
    """

    def __init__(self, folder: Path, *, device: torch.device | None = None) -> None:
        self.folder = folder
        self.device = device or torch.device("cpu")
        config = config_of(folder, option=OPTION, kinds=("vit", "dinov2"))
        weights_of(folder, option=OPTION)
        self._type = str(config["model_type"])
        # DINO has positions for 224 px; DINOv2 resizes its own to any size.
        self._side = int(config.get("image_size", SIDE)) if self._type == "vit" else SIDE

    @property
    def name(self) -> str:
        """Name in tables: the folder's."""
        return f"DINO {self.folder.resolve().name}"

    @property
    def digest(self) -> str:
        """Hash of configuration and weights."""
        return digest_of(self.folder, option=OPTION)

    @cached_property
    def _network(self) -> Any:
        from transformers.models.dinov2.modeling_dinov2 import Dinov2Model
        from transformers.models.vit.modeling_vit import ViTModel

        is_first = self._type == "vit"
        network = load_network(
            self.folder,
            ViTModel if is_first else Dinov2Model,
            option=OPTION,
            settings={"add_pooling_layer": False} if is_first else None,
        )
        return network.to(self.device)

    @torch.inference_mode()
    def features(self, frames: Frames) -> Float[Tensor, "frames d"]:
        """Return the class token of each frame, whose shorter side is resized and centre is read."""
        rows: list[Tensor] = []
        for start in range(0, len(frames), _BATCH):
            batch = torch.stack([self._pixels(f) for f in frames[start : start + _BATCH]])
            hidden = self._network(batch.to(self.device)).last_hidden_state
            rows.append(hidden[:, 0].cpu())
        return torch.cat(rows)

    def _pixels(self, frame: Any) -> Float[Tensor, "3 s s"]:
        side, image = self._side, Image.fromarray(frame)
        short = min(image.size)
        size = (
            max(side, round(image.width * side / short)),
            max(side, round(image.height * side / short)),
        )
        image = image.resize(size, Image.Resampling.BICUBIC)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
        unit = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = unit.reshape(side, side, 3).float() / 255
        return ((pixels - torch.tensor(MEAN)) / torch.tensor(STD)).permute(2, 0, 1)
