"""The motion modules that a stage starts with, new or given, and how they are saved.

Given ones decide the family: which norms look at all frames, and which noise they were trained with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from animatediff.errors import InputError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.training.recipe import Recipe
from animatediff.training.stages.option_groups import FamilyOptions, MotionModuleOptions
from animatediff.training.stages.stage_options import StageOptions
from animatediff.training.stages.write_weights import write_part
from animatediff.weights.families import Family
from animatediff.weights.finding.builtin import resolve_motion
from animatediff.weights.motion import AUTO, facts_of, fill_motion, inflate, read_motion
from animatediff.weights.storage.files import sha256_of


@dataclass(frozen=True)
class Start:
    """Motion modules in a U-Net, about to learn.

    Attributes:
        animated: the U-Net with them.
        family: what their version decides.
        facts: what they were begun from, if not from nothing; a run with others is not resumed.
    """

    animated: AnimatedUNet
    family: Family
    facts: Mapping[str, str] = field(default_factory=lambda: cast(dict[str, str], {}))

    def save(self, path: Path, learned: Mapping[str, Tensor], *, recipe: Recipe) -> Path:
        """Write the modules with the trained weights and their metadata.

        Raises:
            OutputError: the folder cannot be written or is full.
        """
        facts = facts_of(self.animated, family=self.family)
        if "motion" in self.facts:
            facts["begun_from"] = self.facts["motion"]
        weights = {**self.animated.motion_state_dict(), **learned}
        return write_part(path, weights, kind="motion", options=recipe, facts=facts)


def given_motion(
    options: StageOptions, unet: UNet2DConditionModel, *, branch: Branch
) -> Start | None:
    """The motion modules that ``--motion`` names, in full precision; ``None`` without it.

    Raises:
        InputError: there are none of that name, or they are not of this branch.
        FileError: the file is no motion module, or is one of another image model.
    """
    name = options.of(MotionModuleOptions).motion
    path = None if name is None else resolve_motion(name)
    if path is None:
        return None
    file = read_motion(path, family=options.of(FamilyOptions).family or AUTO)
    if file.branch != branch:
        raise InputError(
            f"{path} holds motion modules of the {file.branch} kind, and this stage trains the "
            f"{branch} kind; give others as --motion or choose the stage that trains these."
        )
    animated = inflate(unet, file)
    fill_motion(animated, file, dtype=torch.float32, device=unet.device)
    return Start(animated, file.family, {"motion": sha256_of(path)})
