"""How camera control and object motion are added to a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from animatediff.errors import FileError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.weights.camera.file import (
    CameraFile,
    LoadedCamera,
    check_camera,
    load_camera,
    read_camera,
)
from animatediff.weights.camera.object_motion import (
    LoadedObjectMotion,
    ObjectMotionFile,
    check_object_motion,
    load_object_motion,
    read_object_motion,
)
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.loader import Host


@dataclass(frozen=True)
class FittedCamera:
    """A camera control file, and the motion modules that it was compared with."""

    file: CameraFile
    animated: AnimatedUNet


class Cameras:
    """The loader of camera control files."""

    def read(self, path: Path) -> CameraFile:
        """As ``read_camera``."""
        return read_camera(path)

    def fit(self, files: Sequence[CameraFile], host: Host) -> Sequence[FittedCamera]:
        """Check files against the motion modules; raises ``FileError`` if one does not fit."""
        for file in files:
            if not host.has_motion or host.animated.branch != "transformer":
                raise FileError(
                    f"{file.header.path} moves the camera through motion modules, and there are "
                    "none here; name one with --motion."
                )
            check_camera(file, host.animated)
        return [FittedCamera(file, host.animated) for file in files]

    def fill(
        self,
        fitted: Sequence[FittedCamera],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedCamera]:
        """Read the values."""
        del base, dtype
        return [load_camera(each.file, each.animated, device=device) for each in fitted]

    def move(self, added: LoadedCamera, device: torch.device) -> None:
        """Move it, in place."""
        added.move(device)

    def notes(self, added: LoadedCamera) -> Sequence[str]:
        """There are none."""
        del added
        return ()


class ObjectMotions:
    """The loader of MotionCtrl's object modules."""

    def read(self, path: Path) -> ObjectMotionFile:
        """As ``read_object_motion``."""
        return read_object_motion(path)

    def fit(self, files: Sequence[ObjectMotionFile], host: Host) -> Sequence[ObjectMotionFile]:
        """Check files against the U-Net; raises ``FileError`` if one does not fit."""
        for file in files:
            check_object_motion(file, host.animated.unet)
        return files

    def fill(
        self,
        fitted: Sequence[ObjectMotionFile],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedObjectMotion]:
        """Read the values, in fp32."""
        del dtype
        return [load_object_motion(file, base.unet, device=device) for file in fitted]

    def move(self, added: LoadedObjectMotion, device: torch.device) -> None:
        """Move the encoder."""
        added.encoder.to(device)

    def notes(self, added: LoadedObjectMotion) -> Sequence[str]:
        """There are none."""
        del added
        return ()
