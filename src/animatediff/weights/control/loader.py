"""How control networks are added to a model: checked against its U-Net, and loaded after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from animatediff.model.control.network import ControlNetwork
from animatediff.weights.control.file import ControlFile, ControlPlan, read_control
from animatediff.weights.control.plan import plan_control
from animatediff.weights.image_model.base_model import BaseModel
from animatediff.weights.inspection.kinds import BASE_OF_WIDTH
from animatediff.weights.loader import Host


@dataclass(frozen=True)
class LoadedControl:
    """A control network that is ready to run.

    Attributes:
        file: what it was read from.
        network: makes residuals.
        notes: what its user should know, a sentence each.
    """

    file: ControlFile
    network: ControlNetwork
    notes: tuple[str, ...]


class Controls:
    """The loader of control networks; a file that is named twice is loaded once."""

    def read(self, path: Path) -> ControlFile:
        """As ``read_control``."""
        return read_control(path)

    def fit(self, files: Sequence[ControlFile], host: Host) -> Sequence[ControlPlan]:
        """Check networks against the U-Net; raises ``FileError`` if one does not fit."""
        unet = host.animated.unet
        base = BASE_OF_WIDTH.get(unet.config["cross_attention_dim"], "")
        # SparseCtrl's motion modules are normalised as those of Stable Diffusion 1.5 are here.
        numerics = "diffusers" if host.animated.norm_scope == "video" else "faithful"
        plans: dict[Path, ControlPlan] = {}
        for file in files:
            if file.path not in plans:
                file.check_base(base)
                plans[file.path] = plan_control(file, unet, numerics=numerics)
        return [plans[file.path] for file in files]

    def fill(
        self,
        fitted: Sequence[ControlPlan],
        base: BaseModel,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Sequence[LoadedControl]:
        """Read the numbers; those of the U-Net, which may complete them, are there already."""
        del base
        loaded: dict[Path, LoadedControl] = {}
        for plan in fitted:
            if plan.file.path not in loaded:
                network = plan.load(dtype, device)
                loaded[plan.file.path] = LoadedControl(plan.file, network, plan.notes)
        return [loaded[plan.file.path] for plan in fitted]

    def move(self, added: LoadedControl, device: torch.device) -> None:
        """Move the network."""
        assert isinstance(added.network, nn.Module)
        added.network.to(device)

    def notes(self, added: LoadedControl) -> Sequence[str]:
        """What of the file is left out, or was guessed."""
        return added.notes
