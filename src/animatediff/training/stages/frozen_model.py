"""The frozen image model that a stage trains on, and the networks that are attached to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet, Branch
from animatediff.model.latent_space import posterior_of
from animatediff.training.lessons.denoiser import TextEmbedder
from animatediff.training.lessons.objective import Prediction
from animatediff.training.stages.option_groups import (
    FamilyOptions,
    ImageModelOptions,
    MotionModuleOptions,
)
from animatediff.training.stages.stage_options import StageOptions
from animatediff.weights.adapters import (
    LoadedLowRank,
    fill_low_rank,
    graft_adapter,
    read_adapter,
)
from animatediff.weights.families import Betas, Family, family_of
from animatediff.weights.finding.builtin import resolve_model, resolve_motion
from animatediff.weights.image_model.base_model import BaseModel, load_base_model
from animatediff.weights.motion import AUTO, fill_motion, inflate, read_motion
from animatediff.weights.storage.files import sha256_of

FRESH = "v3"
"""The family of new motion modules on an image model that ``--model`` names."""


@dataclass
class FrozenModel:
    """An image model, frozen, and the facts of what is trained on it.

    Attributes:
        base: the model.
        options: of the stage it was read for.
        facts: what identifies the run; a run with other facts is not resumed.
        notes: warnings about the clips, in sentences.
    """

    base: BaseModel
    options: StageOptions
    facts: dict[str, str] = field(default_factory=lambda: cast(dict[str, str], {}))
    notes: list[str] = field(default_factory=lambda: cast(list[str], []))

    @property
    def is_default(self) -> bool:
        """Whether no other image model was given."""
        return self.options.of(ImageModelOptions).model is None

    @property
    def size(self) -> int:
        """Height and width of the training clips in pixels."""
        return self.options.of(ImageModelOptions).size or self.own_size

    @property
    def own_size(self) -> int:
        """Height and width in pixels that the model was made for."""
        own: Any = self.base.unet.config["sample_size"]
        return int(own) * self.base.pixels_per_latent

    @property
    def prediction(self) -> Prediction:
        """What the model predicts.

        Raises:
            FileError: it predicts something that is not supported.
        """
        name = self.base.scheduler_config.get("prediction_type", "epsilon")
        if name not in ("epsilon", "v_prediction"):
            raise FileError(
                f"{self.base.name} predicts {name!s:.40}, which is not supported; use a model that "
                "predicts epsilon or v_prediction."
            )
        return name

    def image_betas(self) -> Betas:
        """The noise schedule that the image model was trained with."""
        config: Mapping[str, Any] = self.base.scheduler_config
        return Betas(
            schedule=config.get("beta_schedule", "scaled_linear"),
            start=float(config.get("beta_start", 0.00085)),
            end=float(config.get("beta_end", 0.012)),
        )

    def embedder(self) -> TextEmbedder:
        """What turns captions into the text encoder's states."""
        return TextEmbedder(self.base.tokenizer, self.base.text_encoder)

    def encode(
        self, pictures: Float[Tensor, "b 3 h w"], generator: torch.Generator
    ) -> Float[Tensor, "b c h2 w2"]:
        """Scaled latents, drawn from the encoder's distribution, a few pictures at a time."""
        vae = self.base.vae
        means, spreads = zip(
            *((d.mean, d.std) for d in (posterior_of(vae, p) for p in pictures.split(8))),
            strict=True,
        )
        mean, std = torch.cat(means).float(), torch.cat(spreads).float()
        noise = torch.randn(mean.shape, generator=generator).to(mean)
        shift = vae.config["shift_factor"] or 0.0
        return (mean + std * noise - shift) * vae.config["scaling_factor"]

    @property
    def family_name(self) -> str:
        """The family that files of the image model's own stages name."""
        if self.is_default and self.options.defaults is not None:
            return self.options.defaults.family.name
        return self.options.of(FamilyOptions).family or FRESH

    def motion_family(self) -> Family:
        """The family of new motion modules."""
        if self.is_default and self.options.defaults is not None:
            return self.options.defaults.family
        return family_of(self.options.of(FamilyOptions).family or FRESH)

    def new_motion(self, branch: Branch) -> AnimatedUNet:
        """New motion modules, which do not change the image model's output yet."""
        family = self.motion_family()
        torch.manual_seed(0)
        return AnimatedUNet(
            self.base.unet,
            mid=family.mid,
            norm_scope=family.motion_norm_scope,
            resnet_norm_scope=family.resnet_norm_scope,
            branch=branch,
        )

    def read_motion(self) -> tuple[AnimatedUNet, Family]:
        """The motion modules to build on, frozen, and their family.

        Raises:
            InputError: there are none.
        """
        options, name = self.options, self.options.of(MotionModuleOptions).motion
        if name is None:
            if not self.is_default or options.defaults is None:
                raise InputError("This stage builds on motion modules; pass them with --motion.")
            path = options.defaults.motion(options.work)
        else:
            found = resolve_motion(name)
            if found is None:
                raise InputError("This stage builds on motion modules; --motion cannot be none.")
            path = found
        file = read_motion(path, family=options.of(FamilyOptions).family or AUTO)
        animated = inflate(self.base.unet, file)
        fill_motion(animated, file, dtype=self.base.unet.dtype, device=self.base.unet.device)
        self.facts["motion"] = sha256_of(path)
        return animated, file.family

    def attach_adapter(self) -> LoadedLowRank | None:
        """The domain adapter, frozen and active, where one was given (Sec. 4.2).

        Raises:
            FileError: it is something else, or of another image model.
        """
        path = self.options.of(MotionModuleOptions).adapter
        if path is None:
            return None
        unet = self.base.unet
        adapter = graft_adapter(unet, read_adapter(path), scale=1.0)
        fill_low_rank(adapter, dtype=unet.dtype, device=unet.device)
        self.facts["adapter"] = sha256_of(path)
        return adapter


def read_frozen_model(options: StageOptions, *, device: torch.device | None = None) -> FrozenModel:
    """Read the image model that the options name, frozen.

    Raises:
        InputError, FileError: there is none, or it cannot be used.
    """
    device = device or torch.device("cpu")
    model = options.of(ImageModelOptions)
    if model.model is not None:
        folder = resolve_model(model.model)
    elif options.defaults is not None:
        folder = options.defaults.image_model(options.work)
    else:
        raise InputError("This stage needs an image model; pass it with --model.")
    small = options.precision == "bf16" and device.type != "cpu"
    base = load_base_model(folder, dtype=torch.bfloat16 if small else torch.float32, device=device)
    if base.text_encoder_2 is not None:
        raise InputError(
            f"{base.name} has two text encoders (SDXL), and training supports one; pass a Stable "
            "Diffusion 1 or 2 model."
        )
    if model.checkpointing:
        base.unet.enable_gradient_checkpointing()
    facts = {**options.identity(), "model": json.dumps(base.sha256s)}
    return FrozenModel(base, options, facts)


def trainable(module: nn.Module) -> nn.Module:
    """Return the module in fp32, with gradients, in training mode."""
    return module.float().requires_grad_(True).train()
