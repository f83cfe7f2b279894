"""The training recipe as a table: what each stage trains, from what options, and how.

Every stage runs in the same loop (``runs/trainer.py``). The stages here are the paper's (arXiv
2307.04725, Sec. 4.4) and those that personalise an image model (Sec. 5); the built-in world adds those
that make its own (``world/stages/table.py``).

The folder ``--work`` holds what stages read and write::

    stills/ clips/                     rendered art (``animatediff dataset emoji``)
    world/emoji/                       the built-in image model, a diffusers folder
    world/emoji-noto/unet/             a full fine-tune of its U-Net
    world/motion/*.safetensors         motion modules, Transformer and convolution
    world/lora/noto.safetensors        a LoRA
    world/adapter/emoji.safetensors    a domain adapter
    world/motion-lora/*.safetensors    MotionLoRAs, one for each pattern
    world/control/*.safetensors        control networks
    runs/<stage>/                      checkpoints, metrics and report
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn

from animatediff.model.control.controlnet import Hinted
from animatediff.model.control.sparse_control import SparseControl
from animatediff.model.grafts.low_rank import LowRankSet
from animatediff.model.motion_module import MotionModule
from animatediff.model.temporal_conv import TemporalConv
from animatediff.training.lessons.new_word import NewWord
from animatediff.training.recipe import Recipe
from animatediff.training.stages import control, paper, personal
from animatediff.training.stages.defaults import Defaults
from animatediff.training.stages.job import Job
from animatediff.training.stages.option_groups import (
    AppearanceOptions,
    ClipOptions,
    DegradedOptions,
    DreamBoothOptions,
    EncoderOptions,
    FamilyOptions,
    HintOptions,
    ImageModelOptions,
    InversionOptions,
    LossOptions,
    LowRankOptions,
    MixOptions,
    MotionLoraOptions,
    MotionModuleOptions,
    MovingCameraOptions,
    NoiseOptions,
    OutputOptions,
    PictureNetworkOptions,
)
from animatediff.training.stages.stage_options import StageOptions

Prepare = Callable[[StageOptions, Recipe, torch.device], Job]

OWN = (OutputOptions, ImageModelOptions, ClipOptions, LossOptions)
"""The options of every stage that can train on a user's own model and data."""
MOTION = (*OWN, FamilyOptions, MotionModuleOptions, DegradedOptions)


@dataclass(frozen=True)
class Stage:
    """One row of the recipe.

    Attributes:
        summary: what it trains, for people.
        learns: the module whose weights change.
        takes: the groups of options that it takes (``option_groups.py``).
        prepare: makes it ready to run.
        recipe: how it is trained unless the options say otherwise.
        defaults: the image model and data to use where the options name none.
    """

    summary: str
    learns: type[nn.Module]
    takes: tuple[type, ...]
    prepare: Prepare
    recipe: Recipe
    defaults: Defaults | None = None

    def options(
        self, work: Path, values: Mapping[str, Any], *, precision: str = "fp32"
    ) -> StageOptions:
        """The options of this stage, with these values and the defaults of all others.

        Raises:
            InputError: the stage does not take an option.
        """
        groups = tuple(group() for group in self.takes)
        return StageOptions(work, groups, precision, self.defaults).changed(values)


def stages(defaults: Defaults | None = None) -> dict[str, Stage]:
    """The paper's stages and the personal ones.

    Args:
        defaults: the image model and data that they use where the options name none.
    """
    return {
        "motion": Stage(
            "the motion modules, from clips, with the image model frozen (Sec. 4.2, Eq. 5)",
            MotionModule,
            (*MOTION, NoiseOptions, MovingCameraOptions, MixOptions, PictureNetworkOptions),
            paper.prepare_motion,
            Recipe(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
            defaults,
        ),
        "motion-convolution": Stage(
            "temporal convolutions of the same size in place of the motion modules (Sec. 5.3)",
            TemporalConv,
            (*MOTION, NoiseOptions, MovingCameraOptions, MixOptions, PictureNetworkOptions),
            partial(paper.prepare_motion, branch="convolution"),
            Recipe(steps=6000, batch_size=2, learning_rate=7e-4, optimizer="muon"),
            defaults,
        ),
        "domain-adapter": Stage(
            "a LoRA on the image model's attention that absorbs how the videos look (Sec. 4.1, Eq. 2)",
            LowRankSet,
            (*OWN, FamilyOptions, LowRankOptions, DegradedOptions, AppearanceOptions),
            paper.prepare_domain_adapter,
            Recipe(steps=2000, batch_size=16, learning_rate=5e-4),
            defaults,
        ),
        "motion-lora": Stage(
            "a LoRA on the motion modules: a new motion from few clips (Sec. 4.3)",
            LowRankSet,
            (*MOTION, LowRankOptions, MotionLoraOptions, AppearanceOptions),
            paper.prepare_motion_lora,
            Recipe(steps=600, batch_size=2, learning_rate=1e-3, warmup=50, ema_decay=0.99),
            defaults,
        ),
        "personalise-lora": Stage(
            "a LoRA on the image model, from a handful of pictures",
            LowRankSet,
            (*OWN, FamilyOptions, LowRankOptions),
            personal.prepare_lora,
            Recipe(steps=400, batch_size=4, learning_rate=5e-4, warmup=20, ema_decay=0.99),
            defaults,
        ),
        "personalise-dreambooth": Stage(
            "the whole image model, from a handful of pictures, kept by pictures of their class",
            UNet2DConditionModel,
            (*OWN, DreamBoothOptions),
            personal.prepare_dreambooth,
            Recipe(steps=400, batch_size=4, learning_rate=5e-5, warmup=20, ema_decay=0.99),
            defaults,
        ),
        "personalise-inversion": Stage(
            "a new word, from a handful of pictures",
            NewWord,
            (*OWN, FamilyOptions, InversionOptions),
            personal.prepare_inversion,
            Recipe(
                steps=1000,
                batch_size=4,
                learning_rate=5e-3,
                warmup=20,
                schedule="constant",
                weight_decay=0.0,
                ema_decay=0.99,
            ),
            defaults,
        ),
        "control": Stage(
            "a ControlNet, from pictures and their hints (Sec. 5.4)",
            Hinted,
            (*OWN, FamilyOptions, EncoderOptions, HintOptions),
            control.prepare_control,
            Recipe(steps=2000, batch_size=16, learning_rate=5e-4, optimizer="muon"),
            defaults,
        ),
        "sparse-control": Stage(
            "a SparseCtrl network, from clips and a few of their own frames (arXiv 2311.16933)",
            SparseControl,
            (*MOTION, EncoderOptions, MixOptions),
            control.prepare_sparse_control,
            Recipe(steps=2000, batch_size=2, learning_rate=5e-4, optimizer="muon"),
            defaults,
        ),
    }
