"""Stable Diffusion and its personalised variants, from a diffusers folder.

The parts are the classes of diffusers and transformers, filled by our own few lines instead of
theirs: every name and shape is compared before a tensor is read, nothing that a folder names is
executed, and nothing is fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import nn
from transformers.models.clip.configuration_clip import CLIPTextConfig
from transformers.models.clip.modeling_clip import CLIPTextModel
from transformers.models.clip.tokenization_clip import CLIPTokenizer

from animatediff.errors import FileError
from animatediff.runtime import channels_last
from animatediff.weights.builtin import ModelFolder
from animatediff.weights.files import (
    Header,
    check_fit,
    read_header,
    read_json,
    read_weights,
    sha256_of,
)

M = TypeVar("M", bound=nn.Module)

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in the autoencoder's attention in Stable Diffusion 1's files, and as they are now."""


@dataclass(frozen=True)
class BaseModel:
    """An image model, frozen and ready to run.

    Attributes:
        name: what it is called in results.
        unet: predicts noise, in the runtime's precision.
        vae: between pictures and latents, in fp32: in fp16 Stable Diffusion's overflows.
        text_encoder: words to states, in fp32.
        tokenizer: text to words.
        scheduler_config: the noise it was trained with, in diffusers' words.
        files: the weight file of each part.
    """

    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: Mapping[str, Any]
    files: Mapping[str, Path]

    @cached_property
    def sha256s(self) -> dict[str, str]:
        """The SHA-256 of each weight file."""
        return {part: sha256_of(path) for part, path in self.files.items()}

    @property
    def pixels_per_latent(self) -> int:
        """Pixels of a side that one latent stands for; sizes are multiples of it."""
        return 2 ** (len(self.vae.config["block_out_channels"]) - 1)


@dataclass(frozen=True)
class Part:
    """A network without numbers yet, and the file that has them.

    Attributes:
        module: on the meta device.
        header: of the file, its names as in ``rename``.
        rename: from the file's names to the module's.
    """

    module: nn.Module
    header: Header
    rename: Mapping[str, str]

    def fill(self, *, dtype: torch.dtype, device: torch.device) -> None:
        """Read the file into the module."""
        weights = read_weights(self.header, dtype=dtype, device=device)
        named = {self.rename[name]: weights[name] for name in self.rename}
        self.module.load_state_dict(named, strict=True, assign=True)
        _fill_positions(self.module, device=device)
        self.module.requires_grad_(False).eval()


@dataclass(frozen=True)
class BaseModelPlan:
    """An image model of which everything is known and nothing large is loaded.

    Attributes:
        unet: on the meta device; grafts may be attached to it before it is loaded.
    """

    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: Mapping[str, Any]
    parts: Mapping[str, Part]

    def load(self, *, dtype: torch.dtype, device: torch.device) -> BaseModel:
        """Read the weights, those of the U-Net in ``dtype``."""
        for name, part in self.parts.items():
            part.fill(dtype=dtype if name == "unet" else torch.float32, device=device)
        # Convolutions in this order of memory are faster on every device.
        for module in (self.unet, self.vae):
            channels_last(module)
        return BaseModel(
            name=self.name,
            unet=self.unet,
            vae=self.vae,
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            scheduler_config=self.scheduler_config,
            files={name: part.header.path for name, part in self.parts.items()},
        )


def plan_base_model(folder: ModelFolder) -> BaseModelPlan:
    """Check a diffusers folder down to every name and shape, and build it without numbers.

    Raises:
        FileError: a part is missing, of another kind, broken, or does not fit its configuration.
    """
    index = read_json(folder.part("model_index.json"))
    if index.get("text_encoder_2"):
        raise FileError(f"{folder.path} has two text encoders (SDXL); one is supported.")
    weights = folder.weights()
    unet = _diffusers_part(folder, "unet", UNet2DConditionModel)
    vae = _diffusers_part(folder, "vae", AutoencoderKL)
    text_encoder = _text_encoder(folder.part("text_encoder") / "config.json")
    return BaseModelPlan(
        name=folder.name,
        unet=unet,
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=read_tokenizer(folder.part("tokenizer")),
        scheduler_config=read_json(folder.part("scheduler") / "scheduler_config.json"),
        parts={
            "unet": _part(unet, weights["unet"], str),
            "vae": _part(vae, weights["vae"], _vae_name),
            "text_encoder": _part(text_encoder, weights["text_encoder"], _text_name),
        },
    )


def load_base_model(
    folder: Path | ModelFolder, *, dtype: torch.dtype, device: torch.device
) -> BaseModel:
    """An image model from a diffusers folder; ``dtype`` is the U-Net's.

    Raises:
        FileError: as for ``plan_base_model``.
    """
    if isinstance(folder, Path):
        folder = ModelFolder(folder.resolve().name, folder)
    return plan_base_model(folder).load(dtype=dtype, device=device)


def read_tokenizer(folder: Path) -> CLIPTokenizer:
    """CLIP's tokenizer from ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

    Raises:
        FileError: one of them is missing or not what it should be.
    """
    config = read_json(folder / "tokenizer_config.json")
    vocabulary = read_json(folder / "vocab.json")
    try:
        lines = (folder / "merges.txt").read_text(encoding="utf-8").split("\n")
        pairs = [
            tuple(line.split(" ")) for line in lines if line and not line.startswith("#version")
        ]
        special = {
            name: _token(config[name])
            for name in ("bos_token", "eos_token", "unk_token", "pad_token")
            if name in config
        }
        return CLIPTokenizer(
            vocab=vocabulary,
            merges=pairs,  # pyright: ignore[reportArgumentType] - tokenizers takes pairs
            model_max_length=int(config.get("model_max_length", 77)),
            **special,
        )
    except OSError as error:
        raise FileError(f"{error.filename} cannot be read: {error.strerror}.") from None
    except Exception:  # noqa: BLE001 - tokenizers, in Rust, raises nothing more exact
        raise FileError(f"{folder} is not a CLIP tokenizer; get its files again.") from None


def _token(value: Any) -> str:
    """A special token, written as text or, in older files, as a table."""
    return str(value["content"]) if isinstance(value, dict) else str(value)


def _diffusers_part(folder: ModelFolder, name: str, cls: type[M]) -> M:
    path = folder.part(name) / "config.json"
    config = read_json(path)
    found = config.get("_class_name")
    if found != cls.__name__:
        raise FileError(f"{path} describes a {found!s:.60}, and a {cls.__name__} is needed.")
    build: Callable[[Mapping[str, Any]], M] = cls.from_config  # pyright: ignore[reportAttributeAccessIssue]
    return _built(path, lambda: build(config))


def _text_encoder(path: Path) -> CLIPTextModel:
    config = read_json(path)
    found = config.get("model_type")
    if found != "clip_text_model":
        raise FileError(f"{path} describes a {found!s:.60}, and a clip_text_model is needed.")
    return _built(path, lambda: CLIPTextModel(CLIPTextConfig.from_dict(config)))


def _built(path: Path, build: Callable[[], M]) -> M:
    try:
        with torch.device("meta"):
            return build()
    except Exception as error:  # noqa: BLE001 - a constructor given foreign values may raise anything
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise FileError(f"{path} describes no network that can be built ({reason}).") from None


def _part(module: nn.Module, path: Path, canonical: Callable[[str], str]) -> Part:
    """Pair a module with its file, whose names may be older than the module's."""
    header = read_header(path)
    ours = {canonical(name): name for name in module.state_dict()}
    theirs = {name: canonical(name) for name in header.shapes}
    read = {name: new for name, new in theirs.items() if not new.endswith("position_ids")}
    shapes = {new: header.shapes[name] for name, new in read.items()}
    wanted = {canonical(name): tuple(t.shape) for name, t in module.state_dict().items()}
    check_fit(
        Header(path, shapes, header.metadata),
        wanted,
        role=f"what its {type(module).__name__} needs",
    )
    kept = Header(path, {name: header.shapes[name] for name in read}, header.metadata)
    return Part(module, kept, {name: ours[new] for name, new in read.items()})


def _text_name(name: str) -> str:
    """Published text encoders are nested in a ``text_model`` that newer transformers do without."""
    return name.removeprefix("text_model.")


def _vae_name(name: str) -> str:
    *parents, module, kind = ["", *name.split(".")]
    return ".".join([*parents, _OLD_ATTENTION.get(module, module), kind])[1:]


def _fill_positions(module: nn.Module, *, device: torch.device) -> None:
    """Give CLIP the row of position numbers that is in no file."""
    for name, buffer in list(module.named_buffers()):
        if buffer.is_meta:
            assert name.endswith("position_ids"), name
            owner, _, leaf = name.rpartition(".")
            numbers = torch.arange(buffer.shape[-1], device=device).expand(buffer.shape)
            setattr(module.get_submodule(owner), leaf, numbers)
