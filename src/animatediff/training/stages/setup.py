"""What a stage starts from: the built-in world's folder, or one's own model, motion and clips."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from animatediff.data.builds.clips import BuiltClips
from animatediff.data.checking.quarantine import MAX_BAD
from animatediff.data.clips import OwnClips
from animatediff.data.decoding.media import Limits
from animatediff.data.footage import EncodedFootage, Footage
from animatediff.errors import FileError, InputError
from animatediff.model.animated_unet import AnimatedUNet
from animatediff.model.latent_space import posterior_of
from animatediff.model.motion_lora import MotionLayers
from animatediff.training.lessons.clips import TrainingData
from animatediff.training.lessons.denoising import TextEmbedder, attend_plainly
from animatediff.training.lessons.moving_camera import now_and_then_filmed
from animatediff.training.lessons.objective import Prediction
from animatediff.training.lessons.varied_appearance import varied_appearance
from animatediff.training.stages.own_data import read_own_data, told_bad
from animatediff.weights.adapters import (
    LoadedLowRank,
    fill_low_rank,
    graft_adapter,
    read_adapter,
)
from animatediff.weights.builtin import ModelFolder, resolve_model, resolve_motion
from animatediff.weights.families import FAMILIES, Betas, Family, family_of
from animatediff.weights.image_model.base_model import BaseModel, load_base_model
from animatediff.weights.motion import AUTO, fill_motion, inflate, read_motion
from animatediff.weights.storage.files import sha256_of
from animatediff.world.art.clips import read_world_clips
from animatediff.world.art.degraded import Degradation

WORLD_MARGIN = 0.35
"""How far a camera may leave the built-in world's pictures, which lie on white."""

FRESH = "v3"
"""The family of fresh motion modules on one's own image model, if none is named."""


@dataclass(frozen=True)
class Setup:
    """What a stage starts from; whatever is left out is the built-in world's.

    Attributes:
        work: the world folder; runs are kept in it.
        model: the image model, a name or a diffusers folder.
        motion: the motion modules, a name or a file, for stages that build on them.
        adapter: a domain adapter to attach, frozen, while motion is learned.
        data: videos or pictures in any layout of a data set, or the folder of a build.
        layout: how the data set is kept; ``auto`` tells it by what is there.
        videos: the folder that a table's names are relative to; the table's own if left out.
        max_bad: the share of clips that may be bad.
        max_seconds: the longest clip that is read.
        timeout: seconds after which a clip that is still being decoded is given up.
        output: the file (or folder, for a whole model) to write.
        family: what kind of motion modules fresh ones are (``v3`` if left out), or given ones where
            their file does not tell.
        rank: of low-rank branches.
        layers: of motion modules that a MotionLoRA has branches on.
        start: a MotionLoRA to go on from, a name or a file.
        size: pixels of a side; the model's own if left out.
        num_frames: of a clip, for the stages that learn motion.
        fps: frames a second of what is learned from.
        pattern: a camera move to film every clip with, for ``motion-lora``.
        scales: of a MotionLoRA with a ``pattern``; the camera goes as far as they say, and below 0
            the other way.
        moving_camera: the share of windows that a camera moves over, for ``motion``.
        variations: different windows of each clip, each encoded once; 0 draws ever new ones.
        clips: how many clips to learn from; all of them if left out.
        first_clip: the number of the first of them.
        degraded: whether the built-in world's clips carry the marks of stock footage.
        vary_appearance: whether every window is in other colours and shapes, for ``domain-adapter``
            and ``motion-lora``.
        null_text: how often captions are dropped.
        min_snr: gamma of min-SNR weighting.
        noise_offset: how much noise shifts whole clips.
        min_timestep: the first timestep that is learned at.
        debias: the weight of the loss without appearance.
        caption: one caption for all clips, such as ``a photo of sks dog``.
        word: the new word of a textual inversion.
        like: a word that the new one begins as.
        words: how many vectors the new word has.
        class_data: pictures of the class in general, for prior preservation.
        class_caption: what they show.
        prior: the weight of prior preservation.
        checkpointing: recompute activations on the way back, for memory.
        precision: of the frozen parts on a GPU.
    """

    work: Path
    model: str | None = None
    motion: str | None = None
    adapter: Path | None = None
    data: Path | None = None
    layout: str = "auto"
    videos: Path | None = None
    max_bad: float = MAX_BAD
    max_seconds: float = Limits.seconds
    timeout: float = Limits.timeout
    output: Path | None = None
    family: str | None = None
    rank: int | None = None
    layers: MotionLayers = "attention"
    start: str | None = None
    size: int | None = None
    num_frames: int = 16
    fps: float = 8.0
    pattern: str | None = None
    scales: tuple[float, ...] = (1.0,)
    moving_camera: float = 0.0
    variations: int = 0
    clips: int | None = None
    first_clip: int = 0
    mix: tuple[str, ...] = ()
    degraded: bool = False
    vary_appearance: bool = False
    null_text: float = 0.1
    min_snr: float | None = None
    noise_offset: float = 0.0
    min_timestep: int = 0
    debias: float = 0.0
    caption: str | None = None
    word: str | None = None
    like: str | None = None
    words: int = 1
    class_data: Path | None = None
    class_caption: str | None = None
    prior: float = 1.0
    checkpointing: bool = False
    precision: str = "fp32"

    @property
    def is_world(self) -> bool:
        """Whether the image model is the world folder's own."""
        return self.model is None


@dataclass
class Ground:
    """An image model, frozen, and what is needed to learn from pictures with it.

    Attributes:
        base: the model.
        setup: what it was read for.
        facts: what makes a run on it what it is; a run with others is not resumed.
        notes: what is worth knowing of the clips, in sentences.
    """

    base: BaseModel
    setup: Setup
    facts: dict[str, str] = field(default_factory=lambda: cast(dict[str, str], {}))
    notes: list[str] = field(default_factory=lambda: cast(list[str], []))

    @property
    def size(self) -> int:
        """Pixels of a side of what is learned from."""
        own: Any = self.base.unet.config["sample_size"]
        return self.setup.size or int(own) * self.base.pixels_per_latent

    @property
    def prediction(self) -> Prediction:
        """What the model is asked for.

        Raises:
            FileError: it is asked for something that is not supported.
        """
        name = self.base.scheduler_config.get("prediction_type", "epsilon")
        if name not in ("epsilon", "v_prediction"):
            raise FileError(f"{self.base.name} predicts {name!s:.40}; epsilon or v_prediction can.")
        return name

    def image_betas(self) -> Betas:
        """The noise that the image model was trained with."""
        config: Mapping[str, Any] = self.base.scheduler_config
        return Betas(
            schedule=config.get("beta_schedule", "scaled_linear"),
            start=float(config.get("beta_start", 0.00085)),
            end=float(config.get("beta_end", 0.012)),
        )

    def embedder(self) -> TextEmbedder:
        """Captions to states."""
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

    def data(
        self, *, pattern: str | None = None, moving_camera: float = 0.0, stills: bool = False
    ) -> TrainingData:
        """The clips to learn from, with a camera that moves over all of them or over a share.

        Raises:
            InputError: one's own clips are to be degraded.
        """
        setup = self.setup
        data: TrainingData
        if setup.data is not None:
            if setup.degraded:
                raise InputError(
                    "--degraded gives the built-in world's clips the marks of stock footage, and "
                    "--data names others; leave one of them out."
                )
            data = self.own_data(setup.data, pattern=pattern, stills=stills)
        else:
            data = read_world_clips(
                setup.work / "clips",
                size=self.size,
                first=setup.first_clip,
                count=setup.clips,
                pattern=pattern,
                margin=WORLD_MARGIN,
                degradation=Degradation() if setup.degraded else None,
            )
        data = now_and_then_filmed(data, moving_camera)
        if setup.vary_appearance:
            data = varied_appearance(data, stills=stills)
        self.facts["data"] = data.fingerprint()
        return data if setup.caption is None else Captioned(data, setup.caption)

    def own_data(
        self,
        data: Path,
        *,
        pattern: str | None = None,
        stills: bool = False,
        whole: bool = False,
    ) -> OwnClips | BuiltClips:
        """The clips of a folder, table, archive or build, as ``read_own_data`` reads them."""
        clips = read_own_data(
            data,
            self.setup,
            size=self.size,
            files=self.base.files,
            pattern=pattern,
            stills=stills,
            whole=whole,
        )
        self.notes += clips.notes
        if isinstance(clips, OwnClips):
            self.facts["class_set_aside" if whole else "set_aside"] = told_bad(clips.bad)
        return clips

    def motion_family(self) -> Family:
        """The family of fresh motion modules."""
        return FAMILIES["emoji"] if self.setup.is_world else family_of(self.setup.family or FRESH)

    def fresh_motion(self) -> AnimatedUNet:
        """Motion modules that do nothing yet."""
        family = self.motion_family()
        torch.manual_seed(0)
        return AnimatedUNet(
            self.base.unet,
            mid=family.mid,
            norm_scope=family.motion_norm_scope,
            resnet_norm_scope=family.resnet_norm_scope,
        )

    def read_motion(self) -> tuple[AnimatedUNet, Family]:
        """The motion modules to build on, frozen, and their family.

        Raises:
            InputError: there are none.
        """
        setup = self.setup
        if setup.motion is None:
            path = setup.work / "world" / "motion" / "emoji.safetensors"
            if not setup.is_world:
                raise InputError("This stage builds on motion modules; give --motion.")
        else:
            found = resolve_motion(setup.motion)
            if found is None:
                raise InputError("This stage builds on motion modules; --motion cannot be none.")
            path = found
        file = read_motion(path, family=setup.family or AUTO)
        animated = inflate(self.base.unet, file)
        fill_motion(animated, file, dtype=self.base.unet.dtype, device=self.base.unet.device)
        self.facts["motion"] = sha256_of(path)
        return animated, file.family

    def attach_adapter(self) -> LoadedLowRank | None:
        """The domain adapter, frozen and active, where the setup has one (Sec. 4.2).

        Raises:
            FileError: it is something else, or of another image model.
        """
        path = self.setup.adapter
        if path is None:
            return None
        unet = self.base.unet
        adapter = graft_adapter(unet, read_adapter(path), scale=1.0)
        fill_low_rank(adapter, dtype=unet.dtype, device=unet.device)
        self.facts["adapter"] = sha256_of(path)
        return adapter


@dataclass(frozen=True)
class Captioned:
    """Clips that all show the same thing."""

    data: TrainingData
    caption: str

    def __len__(self) -> int:
        return len(self.data)

    def footage(
        self, index: int, *, num_frames: int, generator: torch.Generator
    ) -> Footage | EncodedFootage:
        """The clip, with the one caption."""
        seen = self.data.footage(index, num_frames=num_frames, generator=generator)
        return seen.called(self.caption)

    def fingerprint(self) -> str:
        """Of the clips and the caption."""
        return hashlib.sha256(f"{self.data.fingerprint()} {self.caption}".encode()).hexdigest()


def read_ground(setup: Setup, *, device: torch.device | None = None) -> Ground:
    """Read the image model of a setup, frozen.

    Raises:
        InputError, FileError: there is none, or it cannot be used.
    """
    device = device or torch.device("cpu")
    folder = (
        ModelFolder("emoji", setup.work / "world" / "emoji")
        if setup.model is None
        else resolve_model(setup.model)
    )
    small = setup.precision == "bf16" and device.type != "cpu"
    base = load_base_model(folder, dtype=torch.bfloat16 if small else torch.float32, device=device)
    if base.text_encoder_2 is not None:
        raise InputError(f"{base.name} has two text encoders (SDXL); stages train with one.")
    attend_plainly(base.unet)
    if setup.checkpointing:
        base.unet.enable_gradient_checkpointing()
    # Files are told by their content, wherever they are.
    left_out = {
        "work",
        "model",
        "motion",
        "adapter",
        "start",
        "output",
        "data",
        "class_data",
        "layout",
        "videos",
        "max_bad",
        "max_seconds",
        "timeout",
        "checkpointing",
    }
    told = {k: v for k, v in asdict(setup).items() if k not in left_out}
    facts = {"setup": json.dumps(told, default=str), "model": json.dumps(base.sha256s)}
    return Ground(base, setup, facts)


def trainable(module: nn.Module) -> nn.Module:
    """A fresh part in full precision, ready to learn."""
    return module.float().requires_grad_(True).train()
