"""Load Stable Diffusion and its personalised variants from one file or a diffusers folder.

The networks are classes of diffusers and transformers. Their weights are loaded here: every name and
shape is compared before a tensor is read, no code from a folder is executed, and nothing is
downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from animatediff.errors import FileError
from animatediff.weights.finding.model_folders import ModelFile, ModelFolder, weight_file
from animatediff.weights.image_model.networks import import_networks
from animatediff.weights.image_model.parts import (
    C,
    Part,
    Pending,
    build_part,
    build_text_encoder,
    pair,
)
from animatediff.weights.image_model.single_file import (
    TEXT,
    UNET,
    VAE,
    SingleFile,
    Source,
    clip_prefix,
    clip_sources,
    fitted_vae,
    open_clip_sources,
    read_single_file,
    unet_sources,
    vae_sources,
)
from animatediff.weights.image_model.tokenizer import (
    END,
    OPEN_CLIP_PAD,
    clip_tokenizer,
    read_tokenizer,
)
from animatediff.weights.inspect import check_kind, inspect_header
from animatediff.weights.storage.files import Header, read_header, read_json, sha256_of

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection
    from transformers.models.clip.tokenization_clip import CLIPTokenizer

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
"""Names in the autoencoder's attention in Stable Diffusion 1's files, and as they are now."""


@dataclass(frozen=True)
class BaseModel:
    """An image model, frozen and ready to run.

    Attributes:
        name: its name in results.
        unet: the denoiser, in the runtime's precision.
        pending_vae: the autoencoder, read at its first use.
        text_encoder: CLIP's, in fp32.
        tokenizer: of the text encoder.
        scheduler_config: the training noise schedule, with diffusers' keys.
        files: the weight file of each part, or of the whole ``model``.
        device: where it computes; latents, texts and pictures are there.
        text_encoder_2: SDXL's second text encoder, in fp32.
        tokenizer_2: of the second text encoder.
        empty_is_zero: whether an empty text means zeros, as SDXL was trained.
        notes: sentences about parts of its files that are not used.
    """

    name: str
    unet: UNet2DConditionModel
    pending_vae: Pending
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: Mapping[str, Any]
    files: Mapping[str, Path]
    device: torch.device
    text_encoder_2: CLIPTextModelWithProjection | None = None
    tokenizer_2: CLIPTokenizer | None = None
    empty_is_zero: bool = False
    notes: tuple[str, ...] = ()

    @property
    def vae(self) -> AutoencoderKL:
        """The autoencoder, in fp32: Stable Diffusion's overflows in fp16.

        Raises:
            FileError: at the first use, if its file has changed since the model was loaded.
        """
        return cast("AutoencoderKL", self.pending_vae.module)

    @cached_property
    def sha256s(self) -> dict[str, str]:
        """The SHA-256 of each weight file."""
        return {part: sha256_of(path) for part, path in self.files.items()}

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that a LoRA may change, by diffusers' names."""
        second = {"text_encoder_2": self.text_encoder_2} if self.text_encoder_2 else {}
        return {"unet": self.unet, "text_encoder": self.text_encoder, **second}

    def to(self, device: torch.device) -> BaseModel:
        """Move the networks to another device, in place, and return the model there."""
        for network in self.networks.values():
            network.to(device)
        return replace(self, pending_vae=self.pending_vae.to(device), device=device)

    @property
    def pixels_per_latent(self) -> int:
        """Pixels per latent along a side; sizes are multiples of it."""
        config = cast("AutoencoderKL", self.pending_vae.part.module).config
        return 2 ** (len(config["block_out_channels"]) - 1)


@dataclass(frozen=True)
class BaseModelPlan:
    """An image model, checked but without its values.

    Attributes:
        unet: on the meta device; grafts may be attached to it before it is loaded.
        parts: every network that has weights, by diffusers' names.
        files: as in ``BaseModel``.
    """

    name: str
    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler_config: Mapping[str, Any]
    parts: Mapping[str, Part]
    files: Mapping[str, Path]
    text_encoder_2: CLIPTextModelWithProjection | None = None
    tokenizer_2: CLIPTokenizer | None = None
    empty_is_zero: bool = False

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The networks that a LoRA may change, by diffusers' names."""
        second = {"text_encoder_2": self.text_encoder_2} if self.text_encoder_2 else {}
        return {"unet": self.unet, "text_encoder": self.text_encoder, **second}

    def load(
        self,
        *,
        dtype: torch.dtype,
        device: torch.device,
        weights_device: torch.device | None = None,
        before_each: Callable[[], None] = lambda: None,
    ) -> BaseModel:
        """Read the weights, the U-Net's in ``dtype``; the autoencoder's at its first use.

        Args:
            dtype: of the U-Net.
            device: where the model computes.
            weights_device: where the weights wait; where it computes, if ``None``.
            before_each: called before each network is read; may raise to stop.
        """
        there = weights_device or device
        for name, part in self.parts.items():
            before_each()
            if name == "unet":
                part.fill(dtype=dtype, device=there, convolutional=True)
            elif name != "vae":
                part.fill(dtype=torch.float32, device=there)
        return BaseModel(
            name=self.name,
            unet=self.unet,
            pending_vae=Pending(self.parts["vae"], dtype=torch.float32, device=there),
            text_encoder=self.text_encoder,
            tokenizer=self.tokenizer,
            scheduler_config=self.scheduler_config,
            files=self.files,
            device=device,
            text_encoder_2=self.text_encoder_2,
            tokenizer_2=self.tokenizer_2,
            empty_is_zero=self.empty_is_zero,
            notes=tuple(note for part in self.parts.values() for note in part.notes),
        )


def load_base_model(
    model: Path | ModelFolder | ModelFile, *, dtype: torch.dtype, device: torch.device
) -> BaseModel:
    """Load an image model from one file or a diffusers folder; ``dtype`` is the U-Net's.

    Raises:
        FileError: as for ``plan_base_model``.
    """
    if isinstance(model, Path):
        name = model.resolve().name
        model = ModelFile(model.stem, model) if model.is_file() else ModelFolder(name, model)
    return plan_base_model(model).load(dtype=dtype, device=device)


def plan_base_model(model: ModelFolder | ModelFile, *, vae: Path | None = None) -> BaseModelPlan:
    """Check every name and shape of an image model, and build it without values.

    Args:
        model: a diffusers folder, or a checkpoint in one file.
        vae: a file or diffusers folder of an autoencoder that replaces the model's own.

    Raises:
        FileError: a part is missing, of another kind, broken, or does not fit its configuration.
    """
    import_networks()
    if isinstance(model, ModelFile):
        return _check_rows(_plan_single_file(model, vae=vae))
    return _check_rows(_plan_folder(model, vae=vae))


def _check_rows(plan: BaseModelPlan) -> BaseModelPlan:
    """Check that each text encoder has a row for every token of its tokenizer.

    Raises:
        FileError: it has fewer, so that some prompts could not be read.
    """
    pairs = ((plan.text_encoder, plan.tokenizer), (plan.text_encoder_2, plan.tokenizer_2))
    for encoder, tokenizer in pairs:
        if encoder is None or tokenizer is None:
            continue
        rows, tokens = int(encoder.config.vocab_size), 1 + max(tokenizer.get_vocab().values())
        if rows < tokens:
            raise FileError(
                f"{plan.name} has a text encoder of {rows} tokens and a tokenizer of {tokens}; they "
                "belong to different models, so get the model again."
            )
    return plan


def _plan_folder(model: ModelFolder, *, vae: Path | None) -> BaseModelPlan:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    index = read_json(model.part("model_index.json"))
    weights = model.weights()
    unet_path, vae_path = model.part("unet") / "config.json", model.part("vae") / "config.json"
    unet = build_part(unet_path, UNet2DConditionModel, _config(unet_path, UNet2DConditionModel))
    own_vae = _config(vae_path, AutoencoderKL)
    text_encoder = _text_encoder(model.part("text_encoder") / "config.json", CLIPTextModel)
    parts = {
        "unet": _folder_part(unet, read_header(weights["unet"]), str),
        "vae": _vae_part(vae, own_vae) if vae else _folder_vae(weights["vae"], vae_path, own_vae),
        "text_encoder": _folder_part(
            text_encoder, read_header(weights["text_encoder"]), _text_name
        ),
    }
    second = None
    if "text_encoder_2" in weights:
        path = model.part("text_encoder_2") / "config.json"
        second = _text_encoder(path, CLIPTextModelWithProjection)
        header = read_header(weights["text_encoder_2"])
        parts["text_encoder_2"] = _folder_part(second, header, _text_name)
    return BaseModelPlan(
        name=model.name,
        unet=unet,
        vae=cast("AutoencoderKL", parts["vae"].module),
        text_encoder=text_encoder,
        tokenizer=read_tokenizer(model.part("tokenizer")),
        scheduler_config=read_json(model.part("scheduler") / "scheduler_config.json"),
        parts=parts,
        files={name: part.header.path for name, part in parts.items()},
        text_encoder_2=second,
        tokenizer_2=read_tokenizer(model.part("tokenizer_2")) if second is not None else None,
        empty_is_zero=second is not None
        and index.get("force_zeros_for_empty_prompt", True) is not False,
    )


def _plan_single_file(model: ModelFile, *, vae: Path | None) -> BaseModelPlan:
    path = model.path
    header = read_header(path)
    check_kind(inspect_header(header), "checkpoint")
    file = read_single_file(header)

    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers.models.clip.modeling_clip import CLIPTextModel, CLIPTextModelWithProjection

    unet = build_part(path, UNet2DConditionModel, file.configs["unet"])
    text_encoder = build_text_encoder(path, CLIPTextModel, file.configs["text_encoder"])
    second = None
    if "text_encoder_2" in file.configs:
        config = file.configs["text_encoder_2"]
        second = build_text_encoder(path, CLIPTextModelWithProjection, config)
    layers = int(file.configs["unet"]["layers_per_block"])
    sources = unet_sources(unet.state_dict(), layers_per_block=layers)
    parts = {
        "unet": pair(unet, file.header, sources, prefix=UNET),
        "vae": _vae_part(vae, file.configs["vae"]) if vae else _own_vae(file),
        "text_encoder": _text_part(file, "text_encoder", text_encoder),
    }
    if second is not None:
        parts["text_encoder_2"] = _text_part(file, "text_encoder_2", second)
    first_pad = OPEN_CLIP_PAD if file.generation == "sd2" else END
    return BaseModelPlan(
        name=model.name,
        unet=unet,
        vae=cast("AutoencoderKL", parts["vae"].module),
        text_encoder=text_encoder,
        tokenizer=clip_tokenizer(pad=first_pad),
        scheduler_config=file.configs["scheduler"],
        parts=parts,
        files={"model": path} | ({"vae": parts["vae"].header.path} if vae else {}),
        text_encoder_2=second,
        tokenizer_2=clip_tokenizer(pad=OPEN_CLIP_PAD) if second is not None else None,
        empty_is_zero=second is not None,
    )


def _text_part(file: SingleFile, name: str, module: nn.Module) -> Part:
    """Pair a single file with a text encoder: OpenAI's, or OpenCLIP's without its unused layers."""
    prefix = TEXT[file.generation][name]
    names = list(module.state_dict())
    if not prefix.endswith(".model."):
        inner = clip_prefix(file.header, prefix)
        spare = (f"{prefix}text_projection",)
        return pair(
            module, file.header, clip_sources(names, prefix=inner), prefix=prefix, spare=spare
        )
    layers = int(file.configs[name]["num_hidden_layers"])
    spare = (f"{prefix}transformer.resblocks.{layers}.", f"{prefix}text_projection")
    sources = open_clip_sources(names, prefix=prefix)
    return pair(module, file.header, sources, prefix=prefix, spare=spare)


def _own_vae(file: SingleFile) -> Part:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    config, path = file.configs["vae"], file.header.path
    if not file.has(VAE):
        raise FileError(f"{path} has no autoencoder of its own; give one with --vae.")
    module = build_part(path, AutoencoderKL, config)
    sources = vae_sources(module.state_dict(), blocks=len(config["block_out_channels"]))
    return pair(module, file.header, sources, prefix=VAE, spare=(f"{VAE}loss.", f"{VAE}model_ema"))


def _vae_part(path: Path, config: Mapping[str, Any]) -> Part:
    """Pair a replacing autoencoder with its file; ``config`` is used where the file has none."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    if path.is_dir():
        folder = path / "vae" if (path / "vae").is_dir() else path
        folder_config = _config(folder / "config.json", AutoencoderKL)
        return _folder_vae(weight_file(folder, part="vae"), folder / "config.json", folder_config)
    header = read_header(path)
    check_kind(inspect_header(header), "vae")
    prefix = VAE if any(name.startswith(VAE) for name in header.shapes) else ""
    names = {name.removeprefix(prefix): shape for name, shape in header.shapes.items()}
    config = fitted_vae(config, names)
    if "decoder.mid_block.resnets.0.conv1.weight" in names:
        return _folder_vae(path, path, config)
    if "decoder.conv_in.weight" not in names:
        raise FileError(f"{path} is not an autoencoder: it has no decoder.conv_in.weight.")
    module = build_part(path, AutoencoderKL, config)
    blocks = len(config["block_out_channels"])
    sources = vae_sources(module.state_dict(), blocks=blocks, prefix=prefix)
    spare = (f"{prefix}loss.", f"{prefix}model_ema")
    return pair(module, header, sources, prefix=prefix, spare=spare)


def _folder_vae(weights: Path, origin: Path, config: Mapping[str, Any]) -> Part:
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    module = build_part(origin, AutoencoderKL, config)
    return _folder_part(module, read_header(weights), _vae_name)


def _folder_part(module: nn.Module, header: Header, canonical: Callable[[str], str]) -> Part:
    """Pair a module with its file, which may use older names."""
    theirs = {canonical(name): name for name in header.shapes}
    sources = {
        name: Source(theirs.get(canonical(name), canonical(name))) for name in module.state_dict()
    }
    return pair(module, header, sources)


def _config(path: Path, cls: type[nn.Module]) -> dict[str, Any]:
    config = read_json(path)
    found = config.get("_class_name")
    if found != cls.__name__:
        raise FileError(f"{path} describes a {found!s:.60}, and a {cls.__name__} is needed.")
    return config


def _text_encoder(path: Path, cls: type[C]) -> C:
    config = read_json(path)
    found = config.get("model_type")
    if found != "clip_text_model":
        raise FileError(f"{path} describes a {found!s:.60}, and a clip_text_model is needed.")
    return build_text_encoder(path, cls, config)


def _text_name(name: str) -> str:
    """Return a name without the ``text_model`` that newer versions of transformers dropped."""
    return name.removeprefix("text_model.")


def _vae_name(name: str) -> str:
    *parents, module, kind = ["", *name.split(".")]
    return ".".join([*parents, _OLD_ATTENTION.get(module, module), kind])[1:]
