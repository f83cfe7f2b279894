"""How IP-Adapters and their image encoder are added to a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.image_prompts.image_encoder import ImageEncoder, plan_image_encoder
from animatediff.weights.image_prompts.ip_adapter import (
    IpAdapterFile,
    LoadedIpAdapter,
    check_ip_adapter,
    load_ip_adapter,
    read_ip_adapter,
)
from animatediff.weights.loader import Host


class IpAdapters:
    """The loader of IP-Adapters; a file that is named twice is loaded once."""

    def read(self, path: Path) -> IpAdapterFile:
        """As ``read_ip_adapter``."""
        return read_ip_adapter(path)

    def fit(self, files: Sequence[IpAdapterFile], host: Host) -> Sequence[IpAdapterFile]:
        """Check adapters against the U-Net; raises ``FileError`` if one does not fit."""
        for file in files:
            check_ip_adapter(file, host.animated.unet)
        return files

    def fill(
        self,
        fitted: Sequence[IpAdapterFile],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedIpAdapter]:
        """Read the numbers; the attention takes the precision of the U-Net."""
        del dtype
        loaded: dict[Path, LoadedIpAdapter] = {}
        for file in fitted:
            if file.header.path not in loaded:
                loaded[file.header.path] = load_ip_adapter(file, base.unet, device=device)
        return [loaded[file.header.path] for file in fitted]

    def move(self, added: LoadedIpAdapter, device: torch.device) -> None:
        """Move the projection and the attention layers."""
        added.projection.to(device)
        for branch in added.branches:
            branch.to(device)

    def notes(self, added: LoadedIpAdapter) -> Sequence[str]:
        """What of the file is left out."""
        return added.file.notes


class ImageEncoders:
    """The loader of image encoders, whose numbers are read when the first picture is."""

    def read(self, path: Path) -> ImageEncoder:
        """As ``plan_image_encoder``."""
        return plan_image_encoder(path, device=torch.device("cpu"))

    def fit(self, files: Sequence[ImageEncoder], host: Host) -> Sequence[ImageEncoder]:
        """It belongs to no image model: whether it fits an adapter is checked with the request."""
        del host
        return files

    def fill(
        self,
        fitted: Sequence[ImageEncoder],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[ImageEncoder]:
        """Say where its weights will be, in fp32."""
        del base, dtype
        for encoder in fitted:
            encoder.move(device)
        return fitted

    def move(self, added: ImageEncoder, device: torch.device) -> None:
        """Move it, or have it read there."""
        added.move(device)

    def notes(self, added: ImageEncoder) -> Sequence[str]:
        """What of the file is left out."""
        return added.part.notes
